import * as tf from '@tensorflow/tfjs';
import { narrow } from '../core/precision.js';

/**
 * Halves height and width of `[batch, height, width, channels]` by the shares 1, 3, 3 and 1 of 8 of neighbours, along both sides, with
 * borders mirrored; a last odd row or column is left out. These shares are what the mean of two gives, taken three times.
 * Equals diffusers' KDownsample2D.
 */
export function blurHalve(x: tf.Tensor): tf.Tensor {
  return tf.tidy(() => [1, 1, 2].reduce((state, stride) => tf.avgPool(state, 2, stride, 'valid'), mirrorBorders(x)));
}

/**
 * Doubles height and width of `[batch, height, width, channels]` by the shares 3 and 1 of 4 of the two nearest, along both sides, with
 * borders mirrored: bilinear but at the borders.
 * Equals diffusers' KUpsample2D.
 */
export function blurDouble(x: tf.Tensor): tf.Tensor {
  return tf.tidy(() => {
    const [batch, height, width, channels] = x.shape;
    const around = mirrorBorders(x);
    const doubled = tf.image.resizeBilinear(around, [2 * (height + 2), 2 * (width! + 2)], false, true);
    return narrow(tf.slice(doubled, [0, 2, 2, 0], [batch, 2 * height, 2 * width!, channels!]), x);
  });
}

/** With a row or column more on each side, the last but one again. */
function mirrorBorders(x: tf.Tensor): tf.Tensor4D {
  return tf.mirrorPad(x as tf.Tensor4D, [[0, 0], [1, 1], [1, 1], [0, 0]], 'reflect');
}
