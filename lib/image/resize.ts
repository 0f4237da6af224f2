import type { Pixels } from './pixels.js';

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
 */
export function resizePixels(pixels: Pixels, width: number, height: number, filter: ResizeFilter = 'lanczos'): Pixels {
  if (width === pixels.width && height === pixels.height) return pixels;
  if (pixels.indexed) return resizeNearest(pixels, width, height);
  const { data, alpha, ...size } = pixels;
  if (!alpha) return { data: resizeSamples({ data, ...size, samples: 3 }, width, height, filter), width, height };
  const planes = resizeSamples({ data: multiplyByAlpha(data, alpha), ...size, samples: 4 }, width, height, filter);
  return { ...divideByAlpha(planes), width, height };
}

/** Bytes of pixels that lie one after the other, rows from the top. */
interface Samples {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Of a pixel. */
  readonly samples: number;
}

/** The filter along rows and along columns, each rounded to bytes. Which comes first is as in Pillow 13; before, it always was rows. */
function resizeSamples({ data, width, height, samples }: Samples, newWidth: number, newHeight: number, filter: ResizeFilter): Uint8Array {
  const scaleRows = (from: Uint8Array, count: number) => {
    if (newWidth === width) return from;
    return resample(from, { count, step: width * samples }, { size: width, step: samples, filter }, newWidth, samples);
  };
  const scaleColumns = (from: Uint8Array, count: number) => {
    if (newHeight === height) return from;
    return resample(from, { count, step: samples }, { size: height, step: count * samples, filter }, newHeight, samples);
  };
  const columnsFirst = newHeight < height && height - newHeight > 2 * (width - newWidth);
  return columnsFirst ? scaleRows(scaleColumns(data, width), newHeight) : scaleColumns(scaleRows(data, height), newWidth);
}

/** Scales along one axis: `lines.count` lines of `axis.size` pixels, which are `axis.step` bytes apart. */
function resample(
  data: Uint8Array, lines: { count: number; step: number }, axis: { size: number; step: number; filter: ResizeFilter },
  newSize: number, samples: number,
): Uint8Array {
  const along = axis.step === samples; // lines are rows
  const out = new Uint8Array(lines.count * newSize * samples);
  const outLine = along ? newSize * samples : samples;
  const outStep = along ? samples : lines.count * samples;
  weightsOf(axis.filter, axis.size, newSize).forEach(({ first, weights }, at) => {
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
  });
  return out;
}

/** Which pixels make each new one, and with what shares. */
function weightsOf(filter: ResizeFilter, size: number, newSize: number): Array<{ first: number; weights: number[] }> {
  const { lobes, share } = FILTERS[filter];
  const scale = size / newSize;
  const stretch = Math.max(1, scale);
  return Array.from({ length: newSize }, (_, at) => {
    const center = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - lobes * stretch + 0.5));
    const end = Math.min(size, Math.trunc(center + lobes * stretch + 0.5));
    const values = Array.from({ length: end - first }, (_, i) => share((first + i - center + 0.5) * (1 / stretch)));
    const sum = values.reduce((total, value) => total + value, 0);
    return { first, weights: values.map(value => roundAway(value / sum * PRECISION)) };
  });
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
function resizeNearest({ data, width, height }: Pixels, newWidth: number, newHeight: number): Pixels {
  const columns = nearest(width, newWidth);
  const out = new Uint8Array(newWidth * newHeight * 3);
  nearest(height, newHeight).forEach((row, y) => columns.forEach((column, x) => {
    const from = (row * width + column) * 3;
    out.set(data.subarray(from, from + 3), (y * newWidth + x) * 3);
  }));
  return { data: out, width: newWidth, height: newHeight, indexed: true };
}

/** Steps are added up, and so their rounding, as Pillow's. */
function nearest(size: number, newSize: number): number[] {
  let at = size / newSize / 2;
  return Array.from({ length: newSize }, () => {
    const pixel = Math.min(size - 1, Math.trunc(at));
    at += size / newSize;
    return pixel;
  });
}
