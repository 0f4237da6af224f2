import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels, type Addend } from '../core/kernels.js';
import { gelu, type Activation } from './activations.js';
import { concat, range, slice } from './chunks.js';
import { Linear } from './linear.js';

/** What the first projection gives at once, in bytes of float32: more takes no less time. One guided picture of 512x512 takes 80 MiB. */
const MAX_BYTES = 128 * 2 ** 20;

/** Options of `FeedForward`. */
export interface FeedForwardOptions {
  /** Between the projections, where that is no gated GELU. */
  activation?: Activation;
  /** Features between the projections. Default: 4 x dim. */
  innerDim?: number;
  /** Features of the result. Default: dim. */
  outDim?: number;
  /** Whether the projections have biases, as they have by default. */
  bias?: boolean;
}

/**
 * Two projections with a gated GELU between them: net.2(value * gelu(gate)), where [value, gate] = net.0.proj(x) and each is innerDim wide;
 * or with an activation, which has no gate.
 * - In: `[..., dim]`; out: `[..., outDim]`.
 * - Weights below `net.0.proj` and `net.2`.
 * Equals diffusers' FeedForward with GEGLU (arXiv:2002.05202), or with the activation.
 */
export class FeedForward extends Block {
  static className = 'FeedForward';
  private readonly projIn: Linear;
  private readonly projOut: Linear;
  private readonly activation: Activation;

  constructor(
    private readonly dim: number, { activation, innerDim = 4 * dim, outDim = dim, bias = true }: FeedForwardOptions = {},
  ) {
    super();
    this.activation = activation ?? geglu;
    this.projIn = this.add('net.0.proj', new Linear(dim, activation ? innerDim : 2 * innerDim, { bias }));
    this.projOut = this.add('net.2', new Linear(innerDim, outDim, { bias }));
  }

  /** @param addend added to the result. */
  compute(x: tf.Tensor, addend?: Addend): tf.Tensor {
    const rows = tf.reshape(x, [-1, this.dim]);
    const { outFeatures } = this.projOut;
    const rowsAtOnce = Math.max(1, Math.floor(MAX_BYTES / (4 * this.projIn.outFeatures)));
    const parts = range(rows.shape[0], rowsAtOnce).map(([start, count], _, { length }) => {
      const part = (all: tf.Tensor) => slice(all, [start, 0], [count, all.shape[1]!]);
      const added = addend && length > 1 ? () => part(tf.reshape(addend(), [rows.shape[0], outFeatures])) : addend;
      return this.forwardRows(part(rows), added);
    });
    return tf.reshape(concat(parts, 0), [...x.shape.slice(0, -1), outFeatures]);
  }

  private forwardRows(rows: tf.Tensor, addend?: Addend): tf.Tensor {
    return tf.tidy(() => {
      const projected = this.projIn.forward(rows);
      const activated = this.activation(projected);
      projected.dispose();
      return this.projOut.forward(activated, addend);
    });
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return this.projOut.computeOutputShape(inputShape);
  }
}

/** value * gelu(gate) of both, one behind the other. */
const geglu: Activation = x => kernels().geglu?.(x) ?? tf.tidy(() => {
  const [value, gate] = tf.split(x, 2, -1);
  return tf.mul(value, gelu(gate));
});
