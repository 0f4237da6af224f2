import * as tf from '@tensorflow/tfjs';
import { resizeBicubic } from '../layers/resize_bicubic.js';

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
    const flat = tf.reshape(resizeBicubic(masks, rows, columns), [pictures, rows * columns]);
    const missing = queries - rows * columns;
    return missing > 0 ? tf.pad(flat, [[0, 0], [0, missing]]) : tf.slice(flat, [0, 0], [pictures, queries]);
  });
}
