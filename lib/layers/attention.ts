import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkInteger } from '../core/checks.js';
import { GroupNorm } from './group_norm.js';
import { Linear } from './linear.js';
import { defaultScoreBytes, scaledDotProductAttention } from './scaled_dot_product_attention.js';

/** How many heads are attended to at once: half, one, a number, or (null) as many as is fastest. */
export type AttentionSlice = 'auto' | 'max' | number | null;

export interface AttentionConfig {
  /** Features of the queries and of the result. */
  queryDim: number;
  /** Features of the context that keys and values come from. Default: `queryDim` (self-attention). */
  contextDim?: number;
  heads: number;
  /** Whether to_q, to_k and to_v have biases. */
  bias?: boolean;
}

/** Attention of several heads, which can be taken in smaller chunks. */
export abstract class MultiHeadAttention extends Block {
  private slice: AttentionSlice = null;

  constructor(readonly heads: number) {
    super();
  }

  /**
   * Trades speed for memory: fewer heads, and half of the scores, at once.
   * @throws RangeError unless a number is from 1 to the number of heads.
   */
  setSlice(slice: AttentionSlice): void {
    if (typeof slice === 'number') checkInteger('attention slice (heads at once)', slice, 1, this.heads);
    this.slice = slice;
  }

  protected attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor): tf.Tensor {
    return scaledDotProductAttention(query, key, value, { heads: this.heads, ...this.limits() });
  }

  private limits(): { maxHeads?: number; maxScoreBytes?: number } {
    if (this.slice === null) return {};
    const maxHeads = this.slice === 'max' ? 1 : this.slice === 'auto' ? Math.max(1, this.heads >> 1) : this.slice;
    return { maxHeads, maxScoreBytes: defaultScoreBytes() / 2 };
  }
}

/**
 * Multi-head attention.
 * - In: `[batch, tokens, queryDim]`, context `[batch, contextTokens, contextDim]` (default: the input); out: `[batch, tokens, queryDim]`.
 * - Weights below `to_q`, `to_k`, `to_v`, `to_out.0`.
 * Equals diffusers' Attention with AttnProcessor2_0.
 */
export class Attention extends MultiHeadAttention {
  static className = 'Attention';
  private readonly toQ: Linear;
  private readonly toK: Linear;
  private readonly toV: Linear;
  private readonly toOut: Linear;

  constructor({ queryDim, contextDim = queryDim, heads, bias = false }: AttentionConfig) {
    super(heads);
    if (queryDim % heads !== 0) throw new RangeError(`Attention: ${queryDim} features do not divide into ${heads} heads`);
    this.toQ = this.add('to_q', new Linear(queryDim, queryDim, { bias }));
    this.toK = this.add('to_k', new Linear(contextDim, queryDim, { bias }));
    this.toV = this.add('to_v', new Linear(contextDim, queryDim, { bias }));
    this.toOut = this.add('to_out.0', new Linear(queryDim, queryDim));
  }

  compute(x: tf.Tensor, context: tf.Tensor = x): tf.Tensor {
    return this.toOut.forward(this.attend(this.toQ.forward(x), this.toK.forward(context), this.toV.forward(context)));
  }
}

/**
 * Attention of an image to itself, normalized before and added after: x + attention(group_norm(x)).
 * - In and out: `[batch, height, width, channels]`.
 * - Weights: Attention's with biases, and `group_norm`.
 * Equals the attention of diffusers' VAE (Attention with residual_connection).
 */
export class SpatialAttention extends Attention {
  static override className = 'SpatialAttention';
  private readonly groupNorm: GroupNorm;

  constructor(channels: number, { heads = 1, groups, epsilon }: { heads?: number; groups: number; epsilon: number }) {
    super({ queryDim: channels, heads, bias: true });
    this.groupNorm = this.add('group_norm', new GroupNorm(groups, channels, epsilon));
  }

  override compute(x: tf.Tensor): tf.Tensor {
    const [batch, height, width, channels] = x.shape;
    const tokens = tf.reshape(this.groupNorm.forward(x), [batch, height * width, channels]);
    return tf.add(tf.reshape(super.compute(tokens), x.shape), x);
  }
}

/** Sets the slice of every attention layer below `root`. */
export function setAttentionSlice(root: Block, slice: AttentionSlice): void {
  const layers = [...root.descendants()].filter(block => block instanceof MultiHeadAttention);
  if (typeof slice === 'number') checkInteger('attention slice (heads at once)', slice, 1, Math.min(...layers.map(layer => layer.heads)));
  layers.forEach(layer => layer.setSlice(slice));
}
