import { cropPixels, type Box, type Pixels } from './pixels.js';

/** How a picture is scaled: `lanczos`, Lanczos' filter of three lobes, or `bicubic`, which blurs a little more. */
export type ResizeFilter = 'lanczos' | 'bicubic';

/** Filters of Pillow's: `lobes` is how many pixels of the larger picture each reaches to either side. */
const FILTERS: Record<ResizeFilter, { lobes: number; share: (x: number) => number }> = {
  lanczos: { lobes: 3, share: lanczos },
  bicubic: { lobes: 2, share: bicubic },
};

const PRECISION = 2 ** 22; // of the weights, which are whole numbers of this

/**
 * Scales a picture as Pillow's Image.resize does, byte for byte, with LANCZOS as diffusers or BICUBIC as transformers: colours of what is
 * not opaque weigh as much as they are seen; of a palette or of black and white it takes the nearest pixels.
 * @param part what is wanted of the scaled picture, where that is not all of it.
 */
export function resizePixels(
  pixels: Pixels, width: number, height: number, filter: ResizeFilter = 'lanczos', part: Box = { left: 0, top: 0, width, height },
): Pixels {
  if (width === pixels.width && height === pixels.height) {
    return part.width === width && part.height === height ? pixels : cropPixels(pixels, part);
  }
  const [columns, rows] = [
    { size: pixels.width, newSize: width, from: part.left, to: part.left + part.width },
    { size: pixels.height, newSize: height, from: part.top, to: part.top + part.height },
  ];
  const made = { width: part.width, height: part.height };
  const { data, alpha } = pixels;
  if (pixels.indexed) return { data: resizeNearest(data, columns, rows), ...made, indexed: true };
  if (!alpha) return { data: resizeSamples({ data, samples: 3 }, columns, rows, filter), ...made };
  return { ...divideByAlpha(resizeSamples({ data: multiplyByAlpha(data, alpha), samples: 4 }, columns, rows, filter)), ...made };
}

/** How one side of a picture is scaled: from `size` pixels to `newSize`, of which those from `from` until `to` are wanted. */
interface Scaling {
  readonly size: number;
  readonly newSize: number;
  readonly from: number;
  readonly to: number;
}

/** Bytes of pixels that lie one after the other, rows from the top; `samples` of a pixel. */
interface Samples {
  readonly data: Uint8Array;
  readonly samples: number;
}

/** The filter along rows and along columns, each rounded to bytes. Which comes first is as in Pillow 13; before, it always was rows. */
function resizeSamples({ data, samples }: Samples, columns: Scaling, rows: Scaling, filter: ResizeFilter): Uint8Array {
  const scaleRows = (from: Uint8Array, count: number) =>
    resample(from, { count, step: columns.size * samples }, { ...columns, step: samples, filter }, samples);
  const scaleColumns = (from: Uint8Array, count: number) =>
    resample(from, { count, step: samples }, { ...rows, step: count * samples, filter }, samples);
  const columnsFirst = rows.newSize < rows.size && rows.size - rows.newSize > 2 * (columns.size - columns.newSize);
  return columnsFirst
    ? scaleRows(scaleColumns(data, columns.size), rows.to - rows.from)
    : scaleColumns(scaleRows(data, rows.size), columns.to - columns.from);
}

/** Scales along one axis: `lines.count` lines of `axis.size` pixels, which are `axis.step` bytes apart. */
function resample(
  data: Uint8Array, lines: { count: number; step: number }, axis: Scaling & { step: number; filter: ResizeFilter }, samples: number,
): Uint8Array {
  const wanted = axis.to - axis.from;
  if (axis.newSize === axis.size && wanted === axis.size) return data;
  const along = axis.step === samples; // lines are rows
  const out = new Uint8Array(lines.count * wanted * samples);
  const outLine = along ? wanted * samples : samples;
  const outStep = along ? samples : lines.count * samples;
  for (let at = 0; at < wanted; at++) {
    const { first, weights } = weightsOf(axis, axis.from + at);
    for (let line = 0; line < lines.count; line++) {
      for (let sample = 0; sample < samples; sample++) {
        let sum = PRECISION / 2;
        let from = line * lines.step + first * axis.step + sample;
        for (const weight of weights) {
          sum += data[from] * weight;
          from += axis.step;
        }
        out[line * outLine + at * outStep + sample] = Math.max(0, Math.min(255, Math.floor(sum / PRECISION)));
      }
    }
  }
  return out;
}

/** Which pixels make a new one, and with what shares. */
function weightsOf({ filter, size, newSize }: Scaling & { filter: ResizeFilter }, at: number): { first: number; weights: number[] } {
  const { lobes, share } = FILTERS[filter];
  const scale = size / newSize;
  const stretch = Math.max(1, scale);
  const center = (at + 0.5) * scale;
  const first = Math.max(0, Math.trunc(center - lobes * stretch + 0.5));
  const end = Math.min(size, Math.trunc(center + lobes * stretch + 0.5));
  const values = Array.from({ length: end - first }, (_, i) => share((first + i - center + 0.5) * (1 / stretch)));
  const sum = values.reduce((total, value) => total + value, 0);
  return { first, weights: values.map(value => roundAway(value / sum * PRECISION)) };
}

function lanczos(x: number): number {
  return Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
}

/** Keys' cubic convolution with a slope of -0.5. */
function bicubic(x: number): number {
  const at = Math.abs(x);
  if (at < 1) return (1.5 * at - 2.5) * at * at + 1;
  return at < 2 ? (((at - 5) * at + 8) * at - 4) * -0.5 : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Halves go away from zero. */
function roundAway(value: number): number {
  return Math.trunc(value + Math.sign(value) * 0.5);
}

/** Red, green and blue, as much of them as is seen, and how much that is: four bytes a pixel. */
function multiplyByAlpha(data: Uint8Array, alpha: Uint8Array): Uint8Array {
  const out = new Uint8Array(alpha.length * 4);
  alpha.forEach((opacity, i) => {
    for (let c = 0; c < 3; c++) {
      const product = data[3 * i + c] * opacity + 128;
      out[4 * i + c] = ((product >> 8) + product) >> 8; // / 255, rounded
    }
    out[4 * i + 3] = opacity;
  });
  return out;
}

function divideByAlpha(planes: Uint8Array): { data: Uint8Array; alpha: Uint8Array } {
  const alpha = Uint8Array.from({ length: planes.length / 4 }, (_, i) => planes[4 * i + 3]);
  const data = Uint8Array.from({ length: alpha.length * 3 }, (_, i) => {
    const opacity = alpha[Math.floor(i / 3)];
    const value = planes[4 * Math.floor(i / 3) + i % 3];
    return opacity === 0 ? value : Math.min(255, Math.trunc(255 * value / opacity));
  });
  return { data, alpha };
}

/** The pixels whose middles are nearest. */
function resizeNearest(data: Uint8Array, columns: Scaling, rows: Scaling): Uint8Array {
  const taken = nearest(columns);
  const out = new Uint8Array(taken.length * (rows.to - rows.from) * 3);
  nearest(rows).forEach((row, y) => taken.forEach((column, x) => {
    const from = (row * columns.size + column) * 3;
    out.set(data.subarray(from, from + 3), (y * taken.length + x) * 3);
  }));
  return out;
}

/** Steps are added up, and so their rounding, as Pillow's. */
function nearest({ size, newSize, from, to }: Scaling): number[] {
  let at = size / newSize / 2;
  for (let i = 0; i < from; i++) at += size / newSize;
  return Array.from({ length: to - from }, () => {
    const pixel = Math.min(size - 1, Math.trunc(at));
    at += size / newSize;
    return pixel;
  });
}
