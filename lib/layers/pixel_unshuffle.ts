import * as tf from '@tensorflow/tfjs';

/**
 * `[batch, height, width, channels]` -> `[batch, height / factor, width / factor, channels * factor ** 2]`: the pixels of each square as
 * channels, those of one channel side by side. Height and width are multiples of `factor`. Equals torch.nn.PixelUnshuffle.
 */
export function pixelUnshuffle(x: tf.Tensor, factor: number): tf.Tensor {
  return tf.tidy(() => {
    const [batch, height, width, channels] = x.shape as [number, number, number, number];
    const [rows, columns, pixels] = [height / factor, width / factor, factor ** 2];
    const squares = tf.transpose(tf.reshape(x, [batch * rows, factor, columns, factor * channels]), [0, 2, 1, 3]);
    const planes = tf.transpose(tf.reshape(squares, [batch * rows * columns, pixels, channels]), [0, 2, 1]);
    return tf.reshape(planes, [batch, rows, columns, channels * pixels]);
  });
}
