import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';

/** Bytes that the place where a binding begins is a multiple of. */
const ALIGNMENT = 256;

/** Some rows of many. */
export interface Band {
  readonly first: number;
  readonly count: number;
}

/** Makes a part of a tensor, from a row on, a tensor of its own on the same memory. */
type TakePart = (x: TensorInfo, first: number, shape: readonly number[]) => TensorInfo;

/** Bytes of a row of so many. */
export function bytesOfRow({ shape }: Pick<TensorInfo, 'shape'>, rows: number): number {
  return 4 * shape.reduce((product, size) => product * size, 1) / rows;
}

/** Of how many rows the first of a band is a multiple, for it to be a place where a binding can begin. */
export function rowsToAlign(bytes: number): number {
  let [divisor, rest] = [ALIGNMENT, bytes % ALIGNMENT];
  while (rest > 0) [divisor, rest] = [rest, divisor % rest];
  return ALIGNMENT / divisor;
}

/**
 * As few bands as can be, each of which the device can bind: one where all rows fit. A band that cannot be made small enough is left to the
 * device, which says what it takes.
 * @param rowBytes of each tensor that is bound by bands.
 * @param around rows that are bound besides those of a band.
 */
export function bandsOf(device: GPUDevice, rows: number, rowBytes: readonly number[], around = 0): Band[] {
  const fitting = Math.floor(device.limits.maxStorageBufferBindingSize / Math.max(...rowBytes));
  if (rows <= fitting) return [{ first: 0, count: rows }];
  const step = Math.max(...rowBytes.map(rowsToAlign)); // all of them are powers of two
  const most = Math.max(step, Math.floor((fitting - around) / step) * step);
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => ({ first: i * most, count: Math.min(most, rows - i * most) }));
}

/** Whether each of several samples begins where a binding can. */
export function samplesAlign(batch: number, ...tensors: Array<Pick<TensorInfo, 'shape'>>): boolean {
  return batch === 1 || tensors.every(x => bytesOfRow(x, batch) % ALIGNMENT === 0);
}

/** What `work` does with parts of tensors of so many rows, which are there until it ends. */
export function withParts<T>(backend: WebGPUBackend, rowsOf: (x: TensorInfo) => number, work: (partOf: TakePart) => T): T {
  const parts: TensorInfo[] = [];
  const result = work((x, first, shape) => {
    backend.uploadToGPU(x.dataId);
    const { resource: buffer, dtype } = backend.tensorMap.get(x.dataId);
    const part = backend.makeTensorInfo([...shape], dtype);
    const binding = { buffer, offset: first * bytesOfRow(x, rowsOf(x)), size: bytesOfRow(part, 1) };
    Object.assign(backend.tensorMap.get(part.dataId), { resource: binding, external: true }); // tfjs binds it as it is, and leaves it
    parts.push(part);
    return part;
  });
  parts.forEach(({ dataId }) => backend.disposeData(dataId));
  return result;
}

/**
 * Runs a kernel of rows that know nothing of each other, in bands.
 * @param tensors of as many rows as the result.
 * @param run the kernel, on so many rows of each, from the row `first` on: into `result`, if there is one.
 */
export function inBands<Names extends string>(
  backend: WebGPUBackend, { shape, rows, tensors }: { shape: readonly number[]; rows: number; tensors: Record<Names, TensorInfo> },
  run: (tensors: Record<Names, TensorInfo>, shape: readonly number[], result?: TensorInfo, first?: number) => TensorInfo,
): TensorInfo {
  const all = Object.entries<TensorInfo>(tensors);
  const bands = bandsOf(backend.device, rows, [{ shape: [...shape] }, ...all.map(([, x]) => x)].map(x => bytesOfRow(x, rows)));
  if (bands.length === 1) return run(tensors, shape);
  const result = backend.makeTensorInfo([...shape], 'float32');
  withParts(backend, () => rows, partOf => {
    for (const { first, count } of bands) {
      const part = (x: TensorInfo) => partOf(x, first, [count, bytesOfRow(x, rows) / 4]);
      const parts = Object.fromEntries(all.map(([name, x]) => [name, part(x)])) as Record<Names, TensorInfo>;
      const own = part(result);
      run(parts, own.shape, own, first);
    }
  });
  return result;
}

/** Rows of an image: of the result, and of what those are made of. */
export interface ImageBand {
  /** The first row of the result, and how many. */
  readonly first: number;
  readonly count: number;
  /** The first row of the input, and the one after the last. */
  readonly begin: number;
  readonly end: number;
}

/**
 * Runs a kernel of images `[batch, height, width, channels]` whose rows are made of rows near by, in bands of each sample's, where the
 * device cannot bind all of them. Samples that begin where no binding can are left to the device.
 * @param residual as the result.
 * @param bandsOfSample which bands, of images of such rows.
 * @param run the kernel, on a band of one sample into `result`, or on everything.
 */
export function inImageBands(
  backend: WebGPUBackend, { x, shape, residual }: { x: TensorInfo; shape: readonly number[]; residual?: TensorInfo },
  bandsOfSample: () => ImageBand[],
  run: (
    inputs: { x: TensorInfo; residual?: TensorInfo }, shape: readonly number[], into?: { band: ImageBand; result: TensorInfo },
  ) => TensorInfo,
): TensorInfo {
  const [batch, rows, ...row] = shape;
  const whole = { shape: [...shape] };
  const fits = Math.max(bytesOfRow(x, 1), bytesOfRow(whole, 1)) <= backend.device.limits.maxStorageBufferBindingSize;
  if (fits || !samplesAlign(batch, x, whole)) return run({ x, residual }, shape);
  const result = backend.makeTensorInfo([...shape], 'float32');
  const bands = bandsOfSample();
  withParts(backend, each => batch * (each === x ? x.shape[1]! : rows), partOf => {
    for (let sample = 0; sample < batch; sample++) {
      for (const band of bands) {
        const { first, count, begin, end } = band;
        const part = (each: TensorInfo) => partOf(each, sample * rows + first, [1, count, ...row]);
        const input = partOf(x, sample * x.shape[1]! + begin, [1, end - begin, ...x.shape.slice(2)]);
        const own = part(result);
        run({ x: input, residual: residual && part(residual) }, own.shape, { band, result: own });
      }
    }
  });
  return result;
}

/** Bands of a convolution, as `inImageBands` wants them: of images of so many rows of so many bytes, before and after. */
export function convolvedBands(
  device: GPUDevice, { kernel, stride, top }: { kernel: number; stride: number; top: number },
  [height, rowBytes]: readonly [number, number], [rows, outBytes]: readonly [number, number],
): ImageBand[] {
  const step = rowsToAlign(rowBytes);
  return bandsOf(device, rows, [stride * rowBytes, outBytes], kernel + step).map(({ first, count }) => ({
    first, count,
    begin: Math.max(0, Math.floor((first * stride - top) / step) * step),
    end: Math.min(height, (first + count - 1) * stride - top + kernel),
  }));
}
