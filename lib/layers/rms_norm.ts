import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels } from '../core/kernels.js';
import { narrow, widen } from '../core/precision.js';

/**
 * Normalization by the root mean square over the last axis: y = weight * x / sqrt(mean(x^2) + epsilon).
 * - In and out: `[..., features]`, float.
 * - Weights: `weight`: `[features]`.
 * Equals torch.nn.RMSNorm, and T5's layer norm (arXiv:1910.07467).
 */
export class RMSNorm extends Block {
  static className = 'RMSNorm';

  constructor(readonly features: number, readonly epsilon = 1e-6) {
    super();
    this.addParameter('weight', [features]);
  }

  compute(x: tf.Tensor): tf.Tensor {
    const weight = this.parameter('weight');
    return kernels().rmsNorm?.(x, weight, { epsilon: this.epsilon }) ?? this.compose(x, weight);
  }

  private compose(x: tf.Tensor, weight: tf.Tensor): tf.Tensor {
    const wide = widen(x);
    const scale = tf.rsqrt(tf.add(tf.mean(tf.square(wide), -1, true), this.epsilon));
    return narrow(tf.mul(tf.mul(wide, scale), widen(weight)), x);
  }
}
