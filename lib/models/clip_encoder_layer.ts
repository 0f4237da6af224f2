import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import type { Addend } from '../core/kernels.js';
import { type Activation, getActivation } from '../layers/activations.js';
import { LayerNorm } from '../layers/layer_norm.js';
import { Linear } from '../layers/linear.js';
import { scaledDotProductAttention } from '../layers/scaled_dot_product_attention.js';

/** What the configs of both of CLIP's encoders say of their layers. */
export interface CLIPEncoderLayerConfig {
  hidden_size: number;
  intermediate_size: number;
  num_attention_heads: number;
  hidden_act: string;
  layer_norm_eps: number;
}

/** Equals transformers' CLIPEncoderLayer: attention, perhaps masked, and an MLP, each normalized before and added after. */
export class CLIPEncoderLayer extends Block {
  static className = 'CLIPEncoderLayer';
  private readonly layerNorm1: LayerNorm;
  private readonly selfAttn: CLIPAttention;
  private readonly layerNorm2: LayerNorm;
  private readonly fc1: Linear;
  private readonly fc2: Linear;
  private readonly activation: Activation;

  /** @param name what errors call the config. */
  constructor(name: string, { hidden_size, intermediate_size, num_attention_heads, hidden_act, layer_norm_eps }: CLIPEncoderLayerConfig) {
    super();
    this.layerNorm1 = this.add('layer_norm1', new LayerNorm(hidden_size, layer_norm_eps));
    this.selfAttn = this.add('self_attn', new CLIPAttention(hidden_size, num_attention_heads));
    this.layerNorm2 = this.add('layer_norm2', new LayerNorm(hidden_size, layer_norm_eps));
    this.fc1 = this.add('mlp.fc1', new Linear(hidden_size, intermediate_size));
    this.fc2 = this.add('mlp.fc2', new Linear(intermediate_size, hidden_size));
    this.activation = getActivation(`${name}: hidden_act`, hidden_act);
  }

  compute(x: tf.Tensor, mask?: tf.Tensor): tf.Tensor {
    const attended = this.selfAttn.forward(this.layerNorm1.forward(x), mask, () => x);
    return this.fc2.forward(this.activation(this.fc1.forward(this.layerNorm2.forward(attended))), () => attended);
  }
}

/** Equals transformers' CLIPAttention, which names its projections otherwise than diffusers' Attention. */
class CLIPAttention extends Block {
  static className = 'CLIPAttention';
  private readonly qProj: Linear;
  private readonly kProj: Linear;
  private readonly vProj: Linear;
  private readonly outProj: Linear;

  constructor(features: number, private readonly heads: number) {
    super();
    this.qProj = this.add('q_proj', new Linear(features, features));
    this.kProj = this.add('k_proj', new Linear(features, features));
    this.vProj = this.add('v_proj', new Linear(features, features));
    this.outProj = this.add('out_proj', new Linear(features, features));
  }

  /** @param addend added to the result. */
  compute(x: tf.Tensor, mask?: tf.Tensor, addend?: Addend): tf.Tensor {
    const [query, key, value] = [this.qProj, this.kProj, this.vProj].map(projection => projection.forward(x));
    return this.outProj.forward(scaledDotProductAttention(query, key, value, { heads: this.heads, mask }), addend);
  }
}
