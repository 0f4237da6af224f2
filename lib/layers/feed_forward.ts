import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { gelu } from './activations.js';
import { Linear } from './linear.js';

/**
 * Two projections with a gated GELU between them: net.2(value * gelu(gate)), where [value, gate] = net.0.proj(x) and each is 4 x dim wide.
 * - In and out: `[batch, tokens, dim]`.
 * - Weights below `net.0.proj` and `net.2`.
 * Equals diffusers' FeedForward with GEGLU (arXiv:2002.05202).
 */
export class FeedForward extends Block {
  static className = 'FeedForward';
  private readonly projIn: Linear;
  private readonly projOut: Linear;

  constructor(dim: number) {
    super();
    this.projIn = this.add('net.0.proj', new Linear(dim, 8 * dim));
    this.projOut = this.add('net.2', new Linear(4 * dim, dim));
  }

  forward(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const rows = tf.reshape(x, [-1, x.shape[2]!]);
      const [value, gate] = tf.split(this.projIn.forward(rows), 2, -1);
      return tf.reshape(this.projOut.forward(tf.mul(value, gelu(gate))), x.shape);
    });
  }
}
