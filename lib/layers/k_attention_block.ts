import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { AdaGroupNorm } from './ada_group_norm.js';
import { Attention } from './attention.js';

export interface KAttentionBlockConfig {
  /** Of the image. */
  channels: number;
  /** Features of a head. */
  headDim: number;
  /** Features of the text encoder's hidden states. */
  crossAttentionDim: number;
  /** Features of the time embedding. */
  tembChannels: number;
  /** Channels of a group of the norms. */
  groupSize: number;
  /** Whether the image attends to itself before. */
  selfAttention?: boolean;
}

/**
 * Attention of an image to a text, and perhaps to itself before, each after a norm that the time embedding scales and shifts, and added.
 * - In and out: `[batch, height, width, channels]`; temb `[batch or 1, tembChannels]`, encoderHiddenStates `[batch, textTokens,
 *   crossAttentionDim]`.
 * - Weights below `norm2`, `attn2`, and with selfAttention `norm1`, `attn1`.
 * Equals diffusers' KAttentionBlock with biases and a layer norm of the text.
 * @throws RangeError if `headDim` does not divide `channels`.
 */
export class KAttentionBlock extends Block {
  static className = 'KAttentionBlock';
  private readonly parts: ReadonlyArray<{ norm: AdaGroupNorm; attention: Attention; seesText: boolean }>;

  constructor({ channels, headDim, crossAttentionDim, tembChannels, groupSize, selfAttention = false }: KAttentionBlockConfig) {
    super();
    const heads = channels / headDim;
    if (!Number.isInteger(heads)) {
      const takes = `a number that divides a block's ${channels} channels`;
      throw new RangeError(`KAttentionBlock: attention_head_dim: got ${headDim}, takes ${takes}`);
    }
    const groups = Math.max(1, Math.floor(channels / groupSize));
    const part = (number: 1 | 2, context: { contextDim?: number; contextNorm?: boolean }) => ({
      norm: this.add(`norm${number}`, new AdaGroupNorm(tembChannels, channels, groups)),
      attention: this.add(`attn${number}`, new Attention({ queryDim: channels, heads, bias: true, ...context })),
      seesText: number === 2,
    });
    this.parts = [...selfAttention ? [part(1, {})] : [], part(2, { contextDim: crossAttentionDim, contextNorm: true })];
  }

  compute(x: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
    const [batch, height, width, channels] = x.shape;
    return this.parts.reduce((state, { norm, attention, seesText }) => {
      const tokens = tf.reshape(norm.forward(state, temb), [batch, height * width!, channels]);
      const attended = seesText ? attention.forward(tokens, encoderHiddenStates) : attention.forward(tokens);
      return tf.add(tf.reshape(attended, x.shape), state);
    }, x);
  }
}
