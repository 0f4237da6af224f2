import * as tf from '@tensorflow/tfjs';

/** How strongly a cubic curve bends, as torch has it. */
const BEND = -0.75;

/**
 * `[planes, height, width]` in another size. Equals torch's interpolate with mode bicubic, which does not smooth what shrinks.
 */
export function resizeBicubic(planes: tf.Tensor, height: number, width: number): tf.Tensor {
  return tf.tidy(() => {
    const [count, oldHeight, oldWidth] = planes.shape;
    const scaleRows = (x: tf.Tensor, size: number, newSize: number) => // [count, size, any] -> [count, any, newSize]
      tf.matMul(x, cubicShares(size, newSize), true).reshape([count, -1, newSize]);
    return scaleRows(scaleRows(planes, oldHeight, height), oldWidth!, width);
  });
}

/** Of each of `size` values, its share of each of `newSize`: `[1, size, newSize]`. Beyond the edges values are the last. */
function cubicShares(size: number, newSize: number): tf.Tensor {
  const shares = new Float32Array(size * newSize);
  for (let at = 0; at < newSize; at++) {
    const place = (at + 0.5) * size / newSize - 0.5;
    const before = Math.floor(place);
    for (let from = before - 1; from <= before + 2; from++) {
      const within = Math.min(size - 1, Math.max(0, from));
      shares[within * newSize + at] += cubic(Math.abs(place - from));
    }
  }
  return tf.tensor3d(shares, [1, size, newSize]);
}

/** Keys' cubic convolution. */
function cubic(x: number): number {
  return x <= 1 ? ((BEND + 2) * x - (BEND + 3)) * x * x + 1 : (((x - 5) * x + 8) * x - 4) * BEND;
}
