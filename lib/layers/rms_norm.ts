import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { narrow, widen } from '../core/precision.js';

/**
 * Root mean square normalization over the last axis: y = weight * x / sqrt(mean(x^2) + epsilon).
 * - In and out: `[..., features]`, float.
 * - Weights: `weight`: `[features]`.
 * Equals diffusers' RMSNorm without a bias (arXiv:1910.07467).
 */
export class RMSNorm extends Block {
  static className = 'RMSNorm';

  constructor(readonly features: number, readonly epsilon = 1e-6) {
    super();
    this.addParameter('weight', [features]);
  }

  compute(x: tf.Tensor): tf.Tensor {
    const wide = widen(x);
    const scale = tf.rsqrt(tf.add(tf.mean(tf.square(wide), -1, true), this.epsilon));
    return narrow(tf.mul(tf.mul(wide, scale), widen(this.parameter('weight'))), x);
  }
}
