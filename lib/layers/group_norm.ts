import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { narrow, widen } from '../core/precision.js';

/**
 * Group normalization: y = weight * (x - mean) / sqrt(variance + epsilon) + bias, over height x width x channels/groups of each sample.
 * - In and out: `[batch, height, width, channels]`, float.
 * - Weights: `weight`, `bias`: `[channels]`.
 * Equals torch.nn.GroupNorm (arXiv:1803.08494).
 * @throws RangeError if `groups` does not divide `channels`.
 */
export class GroupNorm extends Block {
  static className = 'GroupNorm';

  constructor(readonly groups: number, readonly channels: number, readonly epsilon = 1e-5) {
    super();
    if (channels % groups !== 0) throw new RangeError(`GroupNorm: ${channels} channels do not divide into ${groups} groups`);
    this.addParameter('weight', [channels]);
    this.addParameter('bias', [channels]);
  }

  forward(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const [batch] = x.shape;
      const pixels = widen(tf.reshape(x, [batch, -1, this.channels])); // [batch, height * width, channels]
      const size = pixels.shape[1]!;
      const average = tf.fill([batch, 1, size], 1 / size); // a product with it is the fastest mean over pixels
      const mean = this.groupMean(tf.matMul(average, pixels));
      const deviations = tf.tidy(() => tf.matMul(average, tf.squaredDifference(pixels, mean)));
      const variance = this.groupMean(deviations); // by two passes: no cancellation where |mean| >> deviation
      return narrow(tf.reshape(this.normalize(pixels, mean, variance), x.shape), x);
    });
  }

  /** weight * (pixels - mean) / sqrt(variance + epsilon) + bias, with as few passes over the pixels as tfjs has. */
  private normalize(pixels: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor): tf.Tensor {
    const [weight, bias] = [this.parameter('weight'), this.parameter('bias')].map(x => widen(x) as tf.Tensor1D);
    if (pixels.shape[0] === 1) {
      const [m, v] = [mean, variance].map(x => tf.reshape(x, [this.channels]) as tf.Tensor1D);
      return tf.batchNorm(tf.reshape(pixels, [1, 1, -1, this.channels]) as tf.Tensor4D, m, v, bias, weight, this.epsilon);
    }
    const scale = tf.mul(weight, tf.rsqrt(tf.add(variance, this.epsilon)));
    return tf.add(tf.mul(pixels, scale), tf.sub(bias, tf.mul(mean, scale)));
  }

  /** The mean of each group, at each of its channels: `[batch, 1, channels]` in and out. */
  private groupMean(perChannel: tf.Tensor): tf.Tensor {
    const perGroup = this.channels / this.groups;
    const mean = tf.mean(tf.reshape(perChannel, [-1, this.groups, perGroup]), 2, true);
    return tf.reshape(tf.tile(mean, [1, 1, perGroup]), perChannel.shape);
  }
}
