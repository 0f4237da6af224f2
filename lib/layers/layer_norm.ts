import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels } from '../core/kernels.js';
import { narrow, widen } from '../core/precision.js';

/**
 * Layer normalization over the last axis: y = weight * (x - mean) / sqrt(variance + epsilon) + bias.
 * - In and out: `[..., features]`, float.
 * - Weights: `weight`, `bias`: `[features]`.
 * Equals torch.nn.LayerNorm (arXiv:1607.06450).
 */
export class LayerNorm extends Block {
  static className = 'LayerNorm';

  constructor(readonly features: number, readonly epsilon = 1e-5) {
    super();
    this.addParameter('weight', [features]);
    this.addParameter('bias', [features]);
  }

  compute(x: tf.Tensor): tf.Tensor {
    return layerNorm(x, this.parameter('weight'), this.parameter('bias'), this);
  }
}

/**
 * As the layer LayerNorm, with weight and bias from elsewhere: `[features]` for all rows, or those of each sample of
 * `[batch, rows, features]`, `[batch, 1, features]`.
 */
export function layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, { epsilon }: { epsilon: number }): tf.Tensor {
  return kernels().layerNorm?.(x, weight, bias, { epsilon }) ?? compose(x, weight, bias, epsilon);
}

function compose(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, epsilon: number): tf.Tensor {
  const wide = widen(x);
  const centered = tf.sub(wide, tf.mean(wide, -1, true));
  const variance = tf.mean(tf.square(centered), -1, true);
  const normalized = tf.mul(centered, tf.rsqrt(tf.add(variance, epsilon)));
  return narrow(tf.add(tf.mul(normalized, widen(weight)), widen(bias)), x);
}
