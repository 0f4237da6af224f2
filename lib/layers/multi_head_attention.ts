import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkInteger } from '../core/checks.js';
import type { RMSNorm } from './rms_norm.js';
import { defaultScoreBytes, scaledDotProductAttention } from './scaled_dot_product_attention.js';

/** How many heads are computed at once: half ('auto'), one ('max'), a number, or (null) as many as is fastest. */
export type AttentionSlice = 'auto' | 'max' | number | null;

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

  /** Queries or keys, each head's normalized, if they are. */
  protected normHeads(x: tf.Tensor, norm?: RMSNorm): tf.Tensor {
    return norm ? tf.reshape(norm.forward(tf.reshape(x, [...x.shape.slice(0, -1), this.heads, norm.features])), x.shape) : x;
  }

  private limits(): { maxHeads?: number; maxScoreBytes?: number } {
    if (this.slice === null) return {};
    const maxHeads = this.slice === 'max' ? 1 : this.slice === 'auto' ? Math.max(1, this.heads >> 1) : this.slice;
    return { maxHeads, maxScoreBytes: defaultScoreBytes() / 2 };
  }
}

/** Sets the slice of every attention layer below `root`. */
export function setAttentionSlice(root: Block, slice: AttentionSlice): void {
  const layers = [...root.descendants()].filter(block => block instanceof MultiHeadAttention);
  if (typeof slice === 'number') checkInteger('attention slice (heads at once)', slice, 1, Math.min(...layers.map(layer => layer.heads)));
  layers.forEach(layer => layer.setSlice(slice));
}
