import * as tf from '@tensorflow/tfjs';
import { GroupNorm } from './group_norm.js';
import { LayerNorm } from './layer_norm.js';
import { Linear } from './linear.js';
import { MultiHeadAttention } from './multi_head_attention.js';

export interface AddedKVAttentionConfig {
  /** Channels of the image. */
  channels: number;
  heads: number;
  groups: number;
  /** Features of the text encoder's hidden states. */
  crossAttentionDim: number;
  /** Whether the image attends to the text alone, and not to itself. */
  onlyCrossAttention?: boolean;
  /** How the text is normalized before attention, if it is. */
  crossAttentionNorm?: 'layer_norm' | 'group_norm' | null;
}

/** Of the groups that `group_norm` makes of the text's features. */
const TEXT_GROUPS = 32;

/**
 * Attention of an image to a text and to itself at once, normalized before and added after.
 * - In and out: `[batch, height, width, channels]`; encoderHiddenStates `[batch, textTokens, crossAttentionDim]`.
 * - Weights below `group_norm`, `to_q`, `add_k_proj`, `add_v_proj`, `to_out.0`, `to_k` and `to_v` unless onlyCrossAttention, and
 *   `norm_cross` where there is a crossAttentionNorm.
 * Equals diffusers' Attention with AttnAddedKVProcessor2_0.
 */
export class AddedKVAttention extends MultiHeadAttention {
  static className = 'AddedKVAttention';
  private readonly groupNorm: GroupNorm;
  private readonly normCross?: (text: tf.Tensor) => tf.Tensor;
  private readonly toQ: Linear;
  private readonly toK?: Linear;
  private readonly toV?: Linear;
  private readonly addKProj: Linear;
  private readonly addVProj: Linear;
  private readonly toOut: Linear;

  constructor(config: AddedKVAttentionConfig) {
    const { channels, heads, groups, crossAttentionDim, onlyCrossAttention = false, crossAttentionNorm = null } = config;
    super(heads);
    this.groupNorm = this.add('group_norm', new GroupNorm(groups, channels));
    if (crossAttentionNorm === 'group_norm') {
      const norm = this.add('norm_cross', new GroupNorm(TEXT_GROUPS, crossAttentionDim));
      this.normCross = text => tf.squeeze(norm.forward(tf.expandDims(text, 1)), [1]);
    } else if (crossAttentionNorm === 'layer_norm') {
      const norm = this.add('norm_cross', new LayerNorm(channels));
      this.normCross = text => norm.forward(text);
    }
    this.toQ = this.add('to_q', new Linear(channels, channels));
    if (!onlyCrossAttention) {
      this.toK = this.add('to_k', new Linear(channels, channels));
      this.toV = this.add('to_v', new Linear(channels, channels));
    }
    this.addKProj = this.add('add_k_proj', new Linear(crossAttentionDim, channels));
    this.addVProj = this.add('add_v_proj', new Linear(crossAttentionDim, channels));
    this.toOut = this.add('to_out.0', new Linear(channels, channels));
  }

  compute(x: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
    const [batch, height, width, channels] = x.shape;
    const tokens = tf.reshape(this.groupNorm.forward(x), [batch, height * width!, channels]);
    const text = this.normCross?.(encoderHiddenStates) ?? encoderHiddenStates;
    const both = (ofText: Linear, ofImage?: Linear) =>
      ofImage ? tf.concat([ofText.forward(text), ofImage.forward(tokens)], 1) : ofText.forward(text);
    const attended = this.attend(this.toQ.forward(tokens), both(this.addKProj, this.toK), both(this.addVProj, this.toV));
    return tf.add(tf.reshape(this.toOut.forward(attended), x.shape), x);
  }
}
