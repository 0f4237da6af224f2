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
      const centered = tf.sub(pixels, this.groupMean(pixels));
      const variance = this.groupMean(tf.square(centered)); // two passes: no cancellation where |mean| >> deviation
      const scale = tf.mul(widen(this.parameter('weight')), tf.rsqrt(tf.add(variance, this.epsilon)));
      return narrow(tf.reshape(tf.add(tf.mul(centered, scale), widen(this.parameter('bias'))), x.shape), x);
    });
  }

  /** The mean of each sample's group, at each of its channels: `[batch, pixels, channels]` -> `[batch, 1, channels]`. */
  private groupMean(pixels: tf.Tensor): tf.Tensor {
    const [batch] = pixels.shape;
    const perGroup = this.channels / this.groups;
    const perChannel = tf.reshape(tf.mean(pixels, 1), [batch, this.groups, perGroup]);
    const mean = tf.tile(tf.mean(perChannel, 2, true), [1, 1, perGroup]);
    return tf.reshape(mean, [batch, 1, this.channels]);
  }
}
