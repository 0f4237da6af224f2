import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels, type Addend } from '../core/kernels.js';
import { gelu } from './activations.js';
import { concat, range, slice } from './chunks.js';
import { Linear } from './linear.js';

/** What the first projection gives at once, in bytes of float32: more takes no less time. One guided picture of 512x512 takes 80 MiB. */
const MAX_BYTES = 128 * 2 ** 20;

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

  constructor(private readonly dim: number) {
    super();
    this.projIn = this.add('net.0.proj', new Linear(dim, 8 * dim));
    this.projOut = this.add('net.2', new Linear(4 * dim, dim));
  }

  /** @param addend added to the result. */
  compute(x: tf.Tensor, addend?: Addend): tf.Tensor {
    const rows = tf.reshape(x, [-1, this.dim]);
    const rowsAtOnce = Math.max(1, Math.floor(MAX_BYTES / (4 * 8 * this.dim)));
    const parts = range(rows.shape[0], rowsAtOnce).map(([start, count], _, { length }) => {
      const part = (all: tf.Tensor) => slice(all, [start, 0], [count, this.dim]);
      return this.forwardRows(part(rows), addend && length > 1 ? () => part(tf.reshape(addend(), rows.shape)) : addend);
    });
    return tf.reshape(concat(parts, 0), x.shape);
  }

  private forwardRows(rows: tf.Tensor, addend?: Addend): tf.Tensor {
    return tf.tidy(() => {
      const projected = this.projIn.forward(rows);
      const gated = kernels().geglu?.(projected) ?? gate(projected);
      projected.dispose();
      return this.projOut.forward(gated, addend);
    });
  }
}

/** value * gelu(gate) of both, one behind the other. */
function gate(projected: tf.Tensor): tf.Tensor {
  return tf.tidy(() => {
    const [value, gate] = tf.split(projected, 2, -1);
    return tf.mul(value, gelu(gate));
  });
}
