import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import type { FloatDtype } from '../../core/float16.js';
import type { Conv2dGeometry } from '../../core/kernels.js';
import { convolvedBands, inBands, inImageBands } from './bands.js';
import { matrixProduct } from './matrix_product.js';
import type { WeightKind } from './packed_words.js';
import { runKernel } from './program.js';
import { tileFor, tilesOf, type Tile } from './tiles.js';

/** How a weight lies. */
export interface WeightForm {
  readonly format: WeightKind['format'];
  /** What is computed with it, where the GPU has that type. */
  readonly dtype: FloatDtype;
  /** In our layout. */
  readonly shape: readonly number[];
  /** Of whole numbers: how many rows have a scale together. */
  readonly groupSize?: number;
}

/** `x`, `weight` with `scales` and `minimums` where it has them, and perhaps `bias` and `residual`. */
export type ProductInputs = Record<string, TensorInfo>;

/** What was computed of float16 products, by tensors' data: to hold it in halves loses nothing that float16 has. */
const ofHalves = new WeakSet<object>();

export function isOfHalves({ dataId }: TensorInfo): boolean {
  return ofHalves.has(dataId);
}

/** How a kernel is told of a weight that lies in such inputs. */
export function kindOf<F extends WeightKind['format']>(format: F, { scales, minimums }: ProductInputs): WeightKind & { format: F } {
  return { format, lifted: minimums !== undefined, halfScales: scales?.dtype === 'int32' };
}

/** `[..., depth]` times a weight `[depth, columns]`. */
export function linearProduct(
  backend: WebGPUBackend, { x, residual, ...others }: ProductInputs, weight: WeightForm, tile?: Tile,
): TensorInfo {
  const [depth, columns] = weight.shape;
  const rows = x.shape.reduce((size, axis) => size * axis, 1) / depth;
  const tensors: ProductInputs = { x, ...residual && { residual } };
  return inBands(backend, { shape: [...x.shape.slice(0, -1), columns], rows, tensors }, (bound, shape, result) =>
    product(backend, { ...others, ...bound }, weight, { shape, depth, tile, result }));
}

/** `[batch, height, width, channels]` convolved with a weight `[kernel, kernel, channels, columns]`. */
export function convolution(
  backend: WebGPUBackend, { x, residual, ...others }: ProductInputs, weight: WeightForm, { stride, padding }: Conv2dGeometry, tile?: Tile,
): TensorInfo {
  const [top, bottom, left, right] = padding;
  const [kernel, , channels, columns] = weight.shape;
  const [batch, height, width] = x.shape;
  const out = (size: number, around: number) => Math.floor((size + around - kernel) / stride) + 1;
  const shape = [batch, out(height, top + bottom), out(width, left + right), columns];
  const bands = () =>
    convolvedBands(backend.device, { kernel, stride, top }, [height, 4 * width * channels], [shape[1], 4 * shape[2] * columns]);
  return inImageBands(backend, { x, shape, residual }, bands, (bound, shape, into) => {
    const above = into ? top + into.band.begin - into.band.first * stride : top;
    const inputs = { ...others, x: bound.x, ...bound.residual && { residual: bound.residual } };
    const geometry = [kernel, stride, above, left];
    return product(backend, inputs, weight, { shape, depth: kernel * kernel * channels, geometry, tile, result: into?.result });
  });
}

interface Product {
  readonly shape: readonly number[];
  readonly depth: number;
  /** Of a convolution. */
  readonly geometry?: readonly number[];
  readonly tile?: Tile;
  /** Where it goes, instead of into a tensor of its own. */
  readonly result?: TensorInfo;
}

function product(backend: WebGPUBackend, inputs: ProductInputs, weight: WeightForm, made: Product): TensorInfo {
  const { shape, depth, geometry } = made;
  const columns = shape.at(-1)!;
  const rows = shape.reduce((size, axis) => size * axis, 1) / columns;
  const { tile = tileFor(rows, columns) } = made;
  const { format, dtype, groupSize } = weight;
  const halves = dtype === 'float16' && backend.device.features.has('shader-f16');
  const kernel = matrixProduct({
    convolves: geometry !== undefined, biased: inputs.bias !== undefined, residual: inputs.residual !== undefined,
    weight: kindOf(format, inputs), tile, halves,
  });
  const result = runKernel(backend, kernel, {
    shape, workgroups: tilesOf(rows, columns, tile), inputs: kernel.inputs.map(name => inputs[name]),
    numbers: [rows, depth, columns, ...groupSize ? [groupSize] : [], ...geometry ?? []], result: made.result,
  });
  if (halves) ofHalves.add(result.dataId);
  return result;
}
