import * as tf from '@tensorflow/tfjs';
import type { Addend } from '../core/kernels.js';
import { GroupNorm } from './group_norm.js';
import { IPAdapterAttention, type ScaledImagePrompts } from './ip_adapter_attention.js';
import { LayerNorm } from './layer_norm.js';
import { Linear } from './linear.js';
import { MultiHeadAttention } from './multi_head_attention.js';
import { RMSNorm } from './rms_norm.js';

export interface AttentionConfig {
  /** Features of the queries and of the result. */
  queryDim: number;
  /** Features of the context that keys and values come from. Default: `queryDim` (self-attention). */
  contextDim?: number;
  heads: number;
  /** Features of all heads together. Default: `queryDim`. */
  innerDim?: number;
  /** Whether to_q, to_k and to_v have biases. */
  bias?: boolean;
  /** Whether to_out.0 has a bias, as it has by default. */
  outBias?: boolean;
  /** Whether the context is normalized before. */
  contextNorm?: boolean;
  /** Whether queries and keys are normalized, each head's (arXiv:2302.05442). */
  qkNorm?: boolean;
}

/** Further inputs of all attentions of a UNet, besides the text. */
export interface AttentionConditions {
  /** Pictures to attend to as well, if there are IP-Adapters. */
  readonly images?: ScaledImagePrompts;
  /**
   * The self-attentions that are switched off for the last samples, and for how many of them (perturbed-attention guidance,
   * arXiv:2403.17377).
   */
  readonly perturbed?: { readonly attentions: ReadonlySet<Attention>; readonly samples: number };
}

/** Further inputs of one attention, besides its context. */
export interface AttentionInputs extends Pick<AttentionConditions, 'images'> {
  /** For how many of the last samples attention is switched off: each of their tokens keeps its own value. For self-attention only. */
  readonly perturbed?: number;
  /** Added to the result. */
  readonly addend?: Addend;
}

/**
 * Multi-head attention.
 * - In: `[batch, tokens, queryDim]`, context `[batch, contextTokens, contextDim]` (default: the input); out: `[batch, tokens, queryDim]`.
 * - Weights below `to_q`, `to_k`, `to_v`, `to_out.0`, `norm_cross` with contextNorm, and `norm_q` and `norm_k` with qkNorm; of IP-Adapters
 *   below `processor`.
 * Equals diffusers' Attention with AttnProcessor2_0, IPAdapterAttnProcessor2_0, PAGIdentitySelfAttnProcessor2_0 or
 * PAGCFGIdentitySelfAttnProcessor2_0.
 */
export class Attention extends MultiHeadAttention {
  static className = 'Attention';
  private readonly toQ: Linear;
  private readonly toK: Linear;
  private readonly toV: Linear;
  private readonly toOut: Linear;
  private readonly normCross?: LayerNorm;
  private readonly normQ?: RMSNorm;
  private readonly normK?: RMSNorm;
  /** What attends to pictures besides, if anything does. */
  private ipAdapters?: IPAdapterAttention;

  constructor(private readonly dims: AttentionConfig) {
    const { queryDim, contextDim = queryDim, heads, innerDim = queryDim, bias = false, outBias = true } = dims;
    const { contextNorm = false, qkNorm = false } = dims;
    super(heads);
    if (innerDim % heads !== 0) throw new RangeError(`Attention: ${innerDim} features do not divide into ${heads} heads`);
    if (contextNorm) this.normCross = this.add('norm_cross', new LayerNorm(contextDim));
    if (qkNorm) {
      this.normQ = this.add('norm_q', new RMSNorm(innerDim / heads));
      this.normK = this.add('norm_k', new RMSNorm(innerDim / heads));
    }
    this.toQ = this.add('to_q', new Linear(queryDim, innerDim, { bias }));
    this.toK = this.add('to_k', new Linear(contextDim, innerDim, { bias }));
    this.toV = this.add('to_v', new Linear(contextDim, innerDim, { bias }));
    this.toOut = this.add('to_out.0', new Linear(innerDim, queryDim, { bias: outBias }));
  }

  /** Makes the keys and values for this many IP-Adapters that fit this attention, without weights. */
  newIpAdapters(adapters: number): IPAdapterAttention {
    const { queryDim, contextDim = queryDim, heads } = this.dims;
    return new IPAdapterAttention({ queryDim, contextDim, heads }, adapters);
  }

  /**
   * Makes it attend to pictures as well, by these IP-Adapters; earlier ones are disposed. With undefined it attends to pictures no longer.
   */
  setIpAdapters(adapters?: IPAdapterAttention): void {
    if (this.ipAdapters) this.drop('processor');
    this.ipAdapters = adapters && this.add('processor', adapters);
  }

  compute(x: tf.Tensor, context: tf.Tensor = x, { images, perturbed = 0, addend }: AttentionInputs = {}): tf.Tensor {
    if (perturbed > 0) return this.toOut.forward(this.attendButLast(x, perturbed), addend);
    const query = this.normHeads(this.toQ.forward(x), this.normQ);
    const normed = this.normCross?.forward(context) ?? context;
    const attended = this.attend(query, this.normHeads(this.toK.forward(normed), this.normK), this.toV.forward(normed));
    const added = images && this.ipAdapters?.forward(query, images);
    return this.toOut.forward(added?.reduce((sum, each) => tf.add(sum, each), attended) ?? attended, addend);
  }

  /** Attention of the samples to themselves; of the last ones the values. */
  private attendButLast(x: tf.Tensor, perturbed: number): tf.Tensor {
    const [batch] = x.shape;
    const value = this.toV.forward(x);
    const [attending, values] = [x, value].map(each => tf.slice(each, 0, batch - perturbed));
    const [query, key] = [this.normHeads(this.toQ.forward(attending), this.normQ), this.normHeads(this.toK.forward(attending), this.normK)];
    const attended = this.attend(query, key, values);
    return tf.concat([attended, tf.slice(value, batch - perturbed)]);
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
    return tf.reshape(super.compute(tokens, undefined, { addend: () => x }), x.shape);
  }
}
