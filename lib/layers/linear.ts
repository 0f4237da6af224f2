import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels, type Addend } from '../core/kernels.js';
import { unpacked } from '../core/packed_tensor.js';

/**
 * y = x W + b over the last axis.
 * - In: `[..., inFeatures]`; out: `[..., outFeatures]`. On `[batch, height, width, channels]` it is a 1x1 convolution.
 * - Weights: `weight` `[inFeatures, outFeatures]`, `bias` `[outFeatures]` unless `bias: false`.
 * Equals torch.nn.Linear, and torch.nn.Conv2d with a kernel of 1.
 */
export class Linear extends Block {
  static className = 'Linear';

  /** @param options `pointwise`: whether it is a convolution in torch. */
  constructor(readonly inFeatures: number, readonly outFeatures: number, options: { bias?: boolean; pointwise?: boolean } = {}) {
    super();
    const { bias = true, pointwise = false } = options;
    this.addParameter('weight', [inFeatures, outFeatures], pointwise ? 'pointwise' : 'linear');
    if (bias) this.addParameter('bias', [outFeatures]);
  }

  /** @param addend added to the result. */
  compute(x: tf.Tensor, addend?: Addend): tf.Tensor {
    const weight = this.operand('weight');
    const bias = this.has('bias') ? this.parameter('bias') : undefined;
    const fused = kernels().linear?.(x, weight, bias, addend);
    if (fused) return fused;
    const y = this.compose(x, unpacked(weight), bias);
    return addend ? tf.add(y, tf.reshape(addend(), y.shape)) : y;
  }

  private compose(x: tf.Tensor, weight: tf.Tensor, bias?: tf.Tensor): tf.Tensor {
    const product = tf.matMul(tf.reshape(x, [-1, this.inFeatures]), weight);
    const y = bias ? tf.add(product, bias) : product;
    return tf.reshape(y, [...x.shape.slice(0, -1), this.outFeatures]);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [...(inputShape as tf.Shape).slice(0, -1), this.outFeatures];
  }
}
