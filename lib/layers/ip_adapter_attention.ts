import * as tf from '@tensorflow/tfjs';
import { narrow } from '../core/precision.js';
import { Linear } from './linear.js';
import { MultiHeadAttention } from './multi_head_attention.js';

/** Pictures that a UNet attends to besides the text, in the form that its attentions take. */
export type ImagePrompts = {
  /** The tokens of each adapter's pictures: `[batch, pictures, tokens, features]`. */
  states: tf.Tensor[];
  /** Masks of each adapter's pictures, by the number of queries: `[pictures, queries]`. An adapter without masks acts everywhere. */
  masks?: Array<Record<number, tf.Tensor> | undefined>;
};

/** The same, with the strengths of the adapters at all attentions, in a row. */
export type ScaledImagePrompts = ImagePrompts & { scales: tf.Tensor };

/**
 * The part of an attention to the text that attends to pictures: keys and values of its own for each adapter.
 * - Query `[batch, queries, queryDim]`; out: what each adapter adds to what the text gives, of that shape.
 * - Weights below `to_k_ip.N`, `to_v_ip.N`.
 * Equals what diffusers' IPAdapterAttnProcessor2_0 adds.
 */
export class IPAdapterAttention extends MultiHeadAttention {
  static className = 'IPAdapterAttention';
  private readonly toKs: Linear[];
  private readonly toVs: Linear[];
  private scales: ReadonlyArray<readonly number[]>;
  private first = 0;

  constructor({ queryDim, contextDim, heads }: { queryDim: number; contextDim: number; heads: number }, adapters: number) {
    super(heads);
    this.toKs = this.addList('to_k_ip', adapters, () => new Linear(contextDim, queryDim, { bias: false }));
    this.toVs = this.addList('to_v_ip', adapters, () => new Linear(contextDim, queryDim, { bias: false }));
    this.scales = this.toKs.map(() => [1]);
  }

  /**
   * How strongly each adapter acts: one number for it, or one for each of its pictures where these have masks. An adapter with strength 0
   * is left out; otherwise the numbers come with the pictures, from `first` on.
   */
  setScales(scales: ReadonlyArray<readonly number[]>, first: number): void {
    this.scales = scales;
    this.first = first;
  }

  compute(query: tf.Tensor, { states, masks, scales }: ScaledImagePrompts): tf.Tensor[] {
    let next = this.first;
    return states.flatMap((state, adapter) => {
      const own = this.scales[adapter];
      const place = next;
      next += own.length;
      const acts = (picture: number) => own[Math.min(picture, own.length - 1)] !== 0;
      const scaled = (x: tf.Tensor, picture: number) =>
        tf.mul(x, narrow(tf.slice(scales, [place + Math.min(picture, own.length - 1)], [1]), x));
      const [batch, pictures, tokens, features] = state.shape;
      const mask = masks?.[adapter] && maskFor(query.shape[1]!, masks[adapter]);
      if (!mask) return acts(0) ? [tf.tidy(() => scaled(this.read(query, adapter, tf.reshape(state, [batch, -1, features])), 0))] : [];
      return Array.from({ length: pictures }, (_, picture) => picture).filter(acts).map(picture => tf.tidy(() => {
        const one = tf.reshape(tf.slice(state, [0, picture, 0, 0], [batch, 1, tokens, features]), [batch, tokens, features]);
        const here = tf.reshape(tf.slice(mask, [picture, 0], [1, query.shape[1]!]), [1, query.shape[1]!, 1]);
        const attended = this.read(query, adapter, one);
        return scaled(tf.mul(attended, narrow(here, attended)), picture);
      }));
    });
  }

  private read(query: tf.Tensor, adapter: number, tokens: tf.Tensor): tf.Tensor {
    return this.attend(query, this.toKs[adapter].forward(tokens), this.toVs[adapter].forward(tokens));
  }
}

/** @throws RangeError for queries of another picture than the masks were made for, or merged ones. */
function maskFor(queries: number, masks: Record<number, tf.Tensor>): tf.Tensor {
  if (Object.hasOwn(masks, queries)) return masks[queries];
  throw new RangeError(`imagePrompts.masks: takes masks for ${queries} queries, got some for ${Object.keys(masks).join(', ')}`);
}
