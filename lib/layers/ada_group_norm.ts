import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkGroups, groupNorm } from './group_norm.js';
import { Linear } from './linear.js';

/**
 * Group normalization, scaled and shifted by what an embedding says: (1 + scale) * (x - mean) / sqrt(variance + epsilon) + shift.
 * - In: `[batch, height, width, channels]`, embedding `[batch or 1, embeddingDim]`; out: as x.
 * - Weights below `linear`.
 * Equals diffusers' AdaGroupNorm.
 * @throws RangeError if `groups` does not divide `channels`.
 */
export class AdaGroupNorm extends Block {
  static className = 'AdaGroupNorm';
  private readonly linear: Linear;

  constructor(embeddingDim: number, readonly channels: number, readonly groups: number, readonly epsilon = 1e-5) {
    super();
    checkGroups('AdaGroupNorm', channels, groups);
    this.linear = this.add('linear', new Linear(embeddingDim, 2 * channels));
  }

  compute(x: tf.Tensor, embedding: tf.Tensor): tf.Tensor {
    const { channels } = this;
    const [scale, shift] = tf.split(tf.reshape(this.linear.forward(embedding), [-1, 1, 1, 2 * channels]), 2, -1);
    const normalized = groupNorm(x, tf.ones([channels]), tf.zeros([channels]), this);
    return tf.add(tf.mul(normalized, tf.add(scale, 1)), shift);
  }
}
