/** Values of pixels, one for each, rows from the top. */
export interface Plane {
  readonly values: Float32Array;
  readonly width: number;
  readonly height: number;
}

const PASSES = 3;

/**
 * Blurs a plane by a Gaussian, as three boxes after one another make it (Gwosdek et al., "Theoretical Foundations of Gaussian Convolution
 * by Extended Box Filtering", as Pillow's GaussianBlur). Pixels at the edge go on beyond it.
 * @param radii standard deviations in pixels, along rows and along columns; 0 leaves as it is.
 */
export function blur({ values, width, height }: Plane, [along, down]: readonly [number, number]): Float32Array {
  const out = values.slice();
  for (let y = 0; y < height && along > 0; y++) blurLine(out, { start: y * width, step: 1, length: width }, along);
  for (let x = 0; x < width && down > 0; x++) blurLine(out, { start: x, step: width, length: height }, down);
  return out;
}

function blurLine(values: Float32Array, { start, step, length }: { start: number; step: number; length: number }, deviation: number): void {
  const variance = deviation ** 2 / PASSES; // of a box
  const whole = Math.floor((Math.sqrt(12 * variance + 1) - 1) / 2); // pixels of it to each side of its middle
  const pad = whole + 1;
  const part = (2 * whole + 1) * (whole * pad - 3 * variance) / (6 * (variance - pad ** 2)); // of those next to them
  const line = new Float64Array(length + 2 * pad);
  const sums = new Float64Array(line.length + 1);
  for (let pass = 0; pass < PASSES; pass++) {
    for (let i = 0; i < line.length; i++) {
      line[i] = values[start + Math.min(Math.max(i - pad, 0), length - 1) * step];
      sums[i + 1] = sums[i] + line[i];
    }
    for (let i = 0; i < length; i++) {
      const inner = sums[i + 2 * pad] - sums[i + 1];
      values[start + i * step] = (inner + part * (line[i] + line[i + 2 * pad])) / (2 * (whole + part) + 1);
    }
  }
}
