import * as tf from '@tensorflow/tfjs';

/**
 * Masks as large as what attends: `[pictures, height, width]` to `[pictures, queries]`. Of a mask that is wider or higher than the picture
 * for which it is, some of the last rows are cut or empty.
 * Equals diffusers' IPAdapterMaskProcessor.downsample.
 */
export function downsampleMasks(masks: tf.Tensor, queries: number): tf.Tensor {
  const [pictures, height, width] = masks.shape;
  const side = Math.max(1, Math.trunc(Math.sqrt(queries / (width! / height))));
  const rows = queries % side === 0 ? side : side + 1;
  const columns = Math.floor(queries / rows);
  return tf.tidy(() => {
    const down = tf.matMul(tf.tile(tf.expandDims(bicubic(height, rows), 0), [pictures, 1, 1]), masks);
    const both = tf.matMul(tf.reshape(down, [pictures * rows, width!]), bicubic(width!, columns), false, true);
    const flat = tf.reshape(both, [pictures, rows * columns]);
    const missing = queries - rows * columns;
    return missing > 0 ? tf.pad(flat, [[0, 0], [0, missing]]) : tf.slice(flat, [0, 0], [pictures, queries]);
  });
}

/** `[to, from]`: with what shares each old pixel makes each new one. Equals torch's interpolate with mode 'bicubic'. */
function bicubic(from: number, to: number): tf.Tensor2D {
  const shares = new Float32Array(to * from);
  for (let at = 0; at < to; at++) {
    const middle = (at + 0.5) * from / to - 0.5;
    const first = Math.floor(middle) - 1;
    for (let tap = first; tap < first + 4; tap++) {
      shares[at * from + Math.min(from - 1, Math.max(0, tap))] += share(Math.abs(middle - tap));
    }
  }
  return tf.tensor2d(shares, [to, from]);
}

/** Keys' cubic convolution with a slope of -0.75. */
function share(x: number): number {
  return x <= 1 ? (1.25 * x - 2.25) * x * x + 1 : ((x - 5) * x + 8) * x * -0.75 + 3;
}
