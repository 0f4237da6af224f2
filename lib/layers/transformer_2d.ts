import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow } from '../core/sequence.js';
import type { AttentionConditions } from './attention.js';
import { BasicTransformerBlock } from './basic_transformer_block.js';
import { GroupNorm } from './group_norm.js';
import { Linear } from './linear.js';

export interface Transformer2DConfig {
  channels: number;
  heads: number;
  layers: number;
  groups: number;
  crossAttentionDim: number;
  onlyCrossAttention?: boolean;
  /** Whether its projections are linear layers in torch, and not convolutions. */
  linearProjection?: boolean;
}

/**
 * Transformer blocks over the pixels of an image, added to the image.
 * - In and out: `[batch, height, width, channels]`; encoderHiddenStates `[batch, textTokens, crossAttentionDim]`.
 * - Weights below `norm`, `proj_in`, `transformer_blocks.N`, `proj_out`. The projections are 1x1 convolutions in SD1.x
 *   and linear in SD2.x: channels last, that is the same.
 * Equals diffusers' Transformer2DModel on continuous input.
 */
export class Transformer2DModel extends Block {
  static className = 'Transformer2DModel';
  private readonly norm: GroupNorm;
  private readonly projIn: Linear;
  private readonly blocks: BasicTransformerBlock[];
  private readonly projOut: Linear;

  constructor(config: Transformer2DConfig) {
    super();
    const { channels, heads, layers, groups, crossAttentionDim, onlyCrossAttention, linearProjection = false } = config;
    const project = () => new Linear(channels, channels, { pointwise: !linearProjection });
    this.norm = this.add('norm', new GroupNorm(groups, channels, 1e-6));
    this.projIn = this.add('proj_in', project());
    this.blocks = this.addList('transformer_blocks', layers,
      () => new BasicTransformerBlock({ dim: channels, heads, crossAttentionDim, onlyCrossAttention }));
    this.projOut = this.add('proj_out', project());
  }

  compute(x: tf.Tensor, encoderHiddenStates: tf.Tensor, conditions?: AttentionConditions): tf.Tensor {
    const [batch, height, width, channels] = x.shape;
    const tokens = tf.reshape(this.projIn.forward(this.norm.forward(x)), [batch, height * width, channels]);
    const size = [height, width!] as const;
    const transformed = follow(tokens, this.blocks.map(block => state => block.forward(state, encoderHiddenStates, size, conditions)));
    return tf.reshape(this.projOut.forward(transformed, () => x), x.shape);
  }
}
