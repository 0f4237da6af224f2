import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { layerNorm } from './layer_norm.js';
import { Linear } from './linear.js';

/** Of every layer norm of a joint transformer. */
const EPSILON = 1e-6;

/** Layer normalization over the last axis, scaled and shifted for each sample: (1 + scale) * (x - mean) / sqrt(variance + 1e-6) + shift. */
export function modulatedNorm(x: tf.Tensor, { scale, shift }: Modulation): tf.Tensor {
  return tf.tidy(() => layerNorm(x, tf.add(scale, 1), shift, { epsilon: EPSILON }));
}

/** Scale and shift for each sample's features, computed from an embedding: `[batch, 1, dim]` each. */
export type Modulation = {
  /** Normalized features are multiplied by 1 + scale. */
  scale: tf.Tensor;
  /** Added to them then. */
  shift: tf.Tensor;
};

/** The factor with which a layer's output is added, for each sample's features: `[batch, 1, dim]`. */
export type Gate = tf.Tensor;

/** x + gate * y; frees `y`. */
export function addGated(x: tf.Tensor, gate: Gate, y: tf.Tensor): tf.Tensor {
  const sum = tf.tidy(() => tf.add(x, tf.mul(y, gate)));
  y.dispose();
  return sum;
}

/** `parts` numbers for each of a sample's features, as an embedding `[batch, dim]` says: `[batch, 1, dim]` each. */
function modulations(linear: Linear, embedding: tf.Tensor, parts: number): tf.Tensor[] {
  return tf.tidy(() => tf.split(tf.expandDims(linear.forward(embedding), 1), parts, -1));
}

/** What AdaLayerNormZero computes for a block. */
export type ZeroModulations = {
  /** The input, normalized. */
  normalized: tf.Tensor;
  /** For attention's output. */
  gate: Gate;
  /** The same for a second attention, if there is one. */
  second?: { normalized: tf.Tensor; gate: Gate };
  /** For the feed-forward's input, and for its output. */
  feedForward: Modulation & { gate: Gate };
};

/**
 * Layer normalization with scale and shift from an embedding, which also gives the gates and modulations for the rest of a block.
 * - In: `[batch, tokens, dim]`, and the embedding `[batch, dim]`, to which SiLU was applied already: the same for all blocks.
 * - Weights below `linear`.
 * Equals diffusers' AdaLayerNormZero, or with `dual` SD35AdaLayerNormZeroX, but for the SiLU (arXiv:2212.09748).
 */
export class AdaLayerNormZero extends Block {
  static className = 'AdaLayerNormZero';
  private readonly linear: Linear;

  /** @param dual whether a second attention is told as well. */
  constructor(dim: number, private readonly dual = false) {
    super();
    this.linear = this.add('linear', new Linear(dim, (dual ? 9 : 6) * dim));
  }

  compute(x: tf.Tensor, embedding: tf.Tensor): ZeroModulations {
    const parts = modulations(this.linear, embedding, this.dual ? 9 : 6);
    const [shift, scale, gate, feedShift, feedScale, feedGate, shift2, scale2, gate2] = parts;
    return {
      normalized: modulatedNorm(x, { scale, shift }), gate,
      second: this.dual ? { normalized: modulatedNorm(x, { scale: scale2, shift: shift2 }), gate: gate2 } : undefined,
      feedForward: { scale: feedScale, shift: feedShift, gate: feedGate },
    };
  }
}

/**
 * Layer normalization with scale and shift from an embedding.
 * - In: `[batch, tokens, dim]`, and the embedding `[batch, dim]`, to which SiLU was applied already; out: as x.
 * - Weights below `linear`.
 * Equals diffusers' AdaLayerNormContinuous without affine parameters, but for the SiLU.
 */
export class AdaLayerNormContinuous extends Block {
  static className = 'AdaLayerNormContinuous';
  private readonly linear: Linear;

  constructor(dim: number) {
    super();
    this.linear = this.add('linear', new Linear(dim, 2 * dim));
  }

  compute(x: tf.Tensor, embedding: tf.Tensor): tf.Tensor {
    const [scale, shift] = modulations(this.linear, embedding, 2);
    return modulatedNorm(x, { scale, shift });
  }
}
