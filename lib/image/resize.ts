const LOBES = 3;
const PRECISION = 2 ** 22; // of the weights, which are whole numbers of this

/** RGB bytes and their size. */
interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/**
 * Scales a picture by Lanczos' filter of three lobes, rows first, then columns, each rounded to bytes.
 * Equals Pillow's Image.resize with LANCZOS, byte for byte, which is how diffusers resizes.
 */
export function resizeLanczos({ data, width, height }: Pixels, newWidth: number, newHeight: number): Uint8Array {
  const rows = newWidth === width ? data : resample(data, { count: height, step: width * 3 }, { size: width, step: 3 }, newWidth);
  return newHeight === height ? rows : resample(rows, { count: newWidth, step: 3 }, { size: height, step: newWidth * 3 }, newHeight);
}

/** Scales along one axis: `lines.count` lines of `axis.size` pixels, which are `axis.step` bytes apart. */
function resample(data: Uint8Array, lines: { count: number; step: number }, axis: { size: number; step: number }, newSize: number): Uint8Array {
  const along = axis.step === 3; // lines are rows
  const out = new Uint8Array(lines.count * newSize * 3);
  const outLine = along ? newSize * 3 : 3;
  const outStep = along ? 3 : lines.count * 3;
  lanczosWeights(axis.size, newSize).forEach(({ first, weights }, at) => {
    for (let line = 0; line < lines.count; line++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = PRECISION / 2;
        let from = line * lines.step + first * axis.step + channel;
        for (const weight of weights) {
          sum += data[from] * weight;
          from += axis.step;
        }
        out[line * outLine + at * outStep + channel] = Math.max(0, Math.min(255, Math.floor(sum / PRECISION)));
      }
    }
  });
  return out;
}

/** Which pixels make each new one, and with what shares. */
function lanczosWeights(size: number, newSize: number): Array<{ first: number; weights: number[] }> {
  const scale = size / newSize;
  const stretch = Math.max(1, scale);
  return Array.from({ length: newSize }, (_, at) => {
    const center = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - LOBES * stretch + 0.5));
    const end = Math.min(size, Math.trunc(center + LOBES * stretch + 0.5));
    const values = Array.from({ length: end - first }, (_, i) => lanczos((first + i - center + 0.5) * (1 / stretch)));
    const sum = values.reduce((total, value) => total + value, 0);
    return { first, weights: values.map(value => roundAway(value / sum * PRECISION)) };
  });
}

function lanczos(x: number): number {
  return Math.abs(x) < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Halves go away from zero. */
function roundAway(value: number): number {
  return Math.trunc(value + Math.sign(value) * 0.5);
}
