import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import type { Addend } from '../core/kernels.js';
import { Attention, type AttentionConditions } from './attention.js';
import { FeedForward } from './feed_forward.js';
import { LayerNorm } from './layer_norm.js';
import { matchTokens, type TokenMergingOptions } from './token_merging.js';

/** Whether it sees tokens merged, what normalizes them, and what is added to them. */
type Sublayer = [merges: boolean | undefined, norm: LayerNorm, layer: (tokens: tf.Tensor, addend?: Addend) => tf.Tensor];

export interface BasicTransformerBlockConfig {
  dim: number;
  heads: number;
  /** Features of the text encoder's hidden states. */
  crossAttentionDim: number;
  /** Whether attn1 attends to the text as well, instead of to the image. */
  onlyCrossAttention?: boolean;
}

/**
 * Self-attention, attention to the text, feed-forward; each on a normalized input and added to its input.
 * - In and out: `[batch, tokens, dim]`; encoderHiddenStates `[batch, textTokens, crossAttentionDim]`.
 * - Weights below `norm1`, `attn1`, `norm2`, `attn2`, `norm3`, `ff`.
 * Equals diffusers' BasicTransformerBlock as Stable Diffusion sets it.
 */
export class BasicTransformerBlock extends Block {
  static className = 'BasicTransformerBlock';
  /** Which layers see merged tokens, if any do. */
  merging: Required<TokenMergingOptions> | null = null;
  private readonly norm1: LayerNorm;
  /** To the image, unless onlyCrossAttention. */
  readonly attn1: Attention;
  private readonly norm2: LayerNorm;
  /** To the text. */
  readonly attn2: Attention;
  private readonly norm3: LayerNorm;
  private readonly ff: FeedForward;
  readonly onlyCrossAttention: boolean;

  constructor({ dim, heads, crossAttentionDim, onlyCrossAttention = false }: BasicTransformerBlockConfig) {
    super();
    this.onlyCrossAttention = onlyCrossAttention;
    this.norm1 = this.add('norm1', new LayerNorm(dim));
    this.attn1 = this.add('attn1', new Attention({ queryDim: dim, contextDim: onlyCrossAttention ? crossAttentionDim : dim, heads }));
    this.norm2 = this.add('norm2', new LayerNorm(dim));
    this.attn2 = this.add('attn2', new Attention({ queryDim: dim, contextDim: crossAttentionDim, heads }));
    this.norm3 = this.add('norm3', new LayerNorm(dim));
    this.ff = this.add('ff', new FeedForward(dim));
  }

  /**
   * @param size height and width of the image that the tokens are of, by which they can be merged.
   */
  compute(
    x: tf.Tensor, encoderHiddenStates: tf.Tensor, size?: readonly [number, number], { images, perturbed }: AttentionConditions = {},
  ): tf.Tensor {
    const { merging } = this;
    const match = merging && size && Math.min(...size) > 1 ? matchTokens(x, size, merging.ratio) : undefined;
    const context = this.onlyCrossAttention ? encoderHiddenStates : undefined;
    const samples = perturbed?.attentions.has(this.attn1) ? perturbed.samples : 0;
    const sublayers: Sublayer[] = [
      [merging?.mergeAttn, this.norm1, (tokens, addend) => this.attn1.forward(tokens, context, { perturbed: samples, addend })],
      [merging?.mergeCrossattn, this.norm2, (tokens, addend) => this.attn2.forward(tokens, encoderHiddenStates, { images, addend })],
      [merging?.mergeMlp, this.norm3, (tokens, addend) => this.ff.forward(tokens, addend)],
    ];
    return sublayers.reduce((state, [merges, norm, layer]) => {
      const tokens = norm.forward(state);
      return match && merges ? tf.add(state, match.unmerge(layer(match.merge(tokens)))) : layer(tokens, () => state);
    }, x);
  }
}
