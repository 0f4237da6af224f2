import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels } from '../core/kernels.js';
import { narrow } from '../core/precision.js';

/**
 * Rows of a table.
 * - In: int32 indices, any shape `[...]`; out: `[..., features]`.
 * - Weights: `weight` `[count, features]`.
 * Equals torch.nn.Embedding.
 */
export class Embedding extends Block {
  static className = 'Embedding';

  constructor(private rows: number, readonly features: number) {
    super();
    this.addParameter('weight', [rows, features]);
  }

  get count(): number {
    return this.rows;
  }

  /** Adds rows `[added, features]` to the end of the table. They stay the caller's. */
  append(rows: tf.Tensor): void {
    this.redeclareParameter('weight', tf.tidy(() => {
      const weight = this.parameter('weight');
      return kernels().appendRows?.(weight, rows) ?? tf.concat([weight, narrow(rows, weight)]);
    }));
    this.rows += rows.shape[0];
  }

  compute(indices: tf.Tensor): tf.Tensor {
    const table = this.parameter('weight');
    return kernels().lookUp?.(table, indices) ?? tf.gather(table, indices as tf.Tensor1D);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [...(inputShape as tf.Shape), this.features];
  }
}
