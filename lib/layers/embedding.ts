import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';

/**
 * Rows of a table.
 * - In: int32 indices, any shape `[...]`; out: `[..., features]`.
 * - Weights: `weight` `[count, features]`.
 * Equals torch.nn.Embedding.
 */
export class Embedding extends Block {
  static className = 'Embedding';

  constructor(readonly count: number, readonly features: number) {
    super();
    this.addParameter('weight', [count, features]);
  }

  forward(indices: tf.Tensor): tf.Tensor {
    return tf.gather(this.parameter('weight'), indices as tf.Tensor1D);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [...(inputShape as tf.Shape), this.features];
  }
}
