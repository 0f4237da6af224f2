import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { quickGelu } from './activations.js';
import { LayerNorm } from './layer_norm.js';
import { Linear } from './linear.js';
import { scaledDotProductAttention } from './scaled_dot_product_attention.js';

/**
 * Attention and an MLP, each normalized before and added after.
 * - In and out: `[batch, tokens, features]`.
 * - Weights below `attn`, `ln_1`, `mlp.c_fc`, `mlp.c_proj`, `ln_2`.
 * Equals ResidualAttentionBlock of diffusers' ControlNetUnionModel, but for the order of the first two axes: there, tokens come first.
 */
export class ResidualAttentionBlock extends Block {
  static className = 'ResidualAttentionBlock';
  private readonly attention: PackedAttention;
  private readonly norm1: LayerNorm;
  private readonly fc: Linear;
  private readonly proj: Linear;
  private readonly norm2: LayerNorm;

  constructor(features: number, heads: number) {
    super();
    this.attention = this.add('attn', new PackedAttention(features, heads));
    this.norm1 = this.add('ln_1', new LayerNorm(features));
    this.fc = this.add('mlp.c_fc', new Linear(features, 4 * features));
    this.proj = this.add('mlp.c_proj', new Linear(4 * features, features));
    this.norm2 = this.add('ln_2', new LayerNorm(features));
  }

  compute(x: tf.Tensor): tf.Tensor {
    const attended = tf.add(x, this.attention.forward(this.norm1.forward(x)));
    return this.proj.forward(quickGelu(this.fc.forward(this.norm2.forward(attended))), () => attended);
  }
}

/** Equals torch.nn.MultiheadAttention with batch_first, which keeps the projections to queries, keys and values in one matrix. */
class PackedAttention extends Block {
  static className = 'PackedAttention';
  private readonly outProj: Linear;

  constructor(private readonly features: number, private readonly heads: number) {
    super();
    this.addParameter('in_proj_weight', [features, 3 * features], 'linear');
    this.addParameter('in_proj_bias', [3 * features]);
    this.outProj = this.add('out_proj', new Linear(features, features));
  }

  compute(x: tf.Tensor): tf.Tensor {
    const { features, heads } = this;
    const projected = tf.add(tf.matMul(tf.reshape(x, [-1, features]), this.parameter('in_proj_weight')), this.parameter('in_proj_bias'));
    const [query, key, value] = tf.split(tf.reshape(projected, [...x.shape.slice(0, -1), 3 * features]), 3, -1);
    return this.outProj.forward(scaledDotProductAttention(query, key, value, { heads }));
  }
}
