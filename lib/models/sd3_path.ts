import * as tf from '@tensorflow/tfjs';
import { checkShape } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { silu } from '../layers/activations.js';
import { CombinedTimestepTextProjEmbeddings } from '../layers/combined_timestep_text_proj_embeddings.js';
import type { JointTransformerBlockConfig } from '../layers/joint_transformer_block.js';
import { Model } from './model.js';
import type { SD3PathConfig } from './sd3_config.js';

/** The inputs of a network of Stable Diffusion 3 besides latents and timestep. */
export interface SD3Conditions {
  /** The text: `[batch, tokens, joint_attention_dim]`. */
  encoderHiddenStates: tf.Tensor;
  /** The text as one vector: `[batch, pooled_projection_dim]`. */
  pooledProjections: tf.Tensor;
}

/** All of that as tensors: what a graph can take. */
export type SD3Inputs = { sample: tf.Tensor; sinusoid: tf.Tensor; pooled: tf.Tensor };

/** What the networks of Stable Diffusion 3 share: how they are told of the time and of a text as a whole. */
export abstract class SD3Path<Config extends SD3PathConfig> extends Model<Config> {
  /** Features of each patch and each token. */
  readonly dim: number;
  private readonly timeTextEmbed: CombinedTimestepTextProjEmbeddings;

  /** @param called what errors call it. */
  constructor(config: Config, protected readonly called: string) {
    super(config);
    this.dim = config.num_attention_heads * config.attention_head_dim;
    this.timeTextEmbed = this.add('time_text_embed', new CombinedTimestepTextProjEmbeddings(this.dim, config.pooled_projection_dim));
  }

  /** What block number `i` is made by. */
  protected blockConfig(i: number): JointTransformerBlockConfig {
    const { num_attention_heads: heads, qk_norm, dual_attention_layers: dual } = this.config;
    return { dim: this.dim, heads, qkNorm: qk_norm !== null, dualAttention: dual.includes(i) };
  }

  /** What all of it is told, checked, as tensors. */
  protected takeInputs(sample: tf.Tensor, timestep: number | readonly number[], pooled: tf.Tensor): SD3Inputs {
    const [batch] = sample.shape;
    checkShape(`${this.called} pooledProjections`, pooled.shape, [batch, this.config.pooled_projection_dim]);
    const timesteps = typeof timestep === 'number' ? [timestep] : timestep;
    if (timesteps.length !== 1 && timesteps.length !== batch) {
      throw new RangeError(`${this.called} timestep: got ${timesteps.length} timesteps, takes 1 or ${batch}, one for each sample`);
    }
    return { sample, sinusoid: CombinedTimestepTextProjEmbeddings.sinusoid(timesteps), pooled };
  }

  /** What every block is told, `[batch, dim]`: SiLU is applied once for all of them, in float32, as a rounding would be in all they do. */
  protected embed({ sinusoid, pooled }: SD3Inputs): tf.Tensor {
    return tf.tidy(() => silu(widen(this.timeTextEmbed.forward(sinusoid, pooled))));
  }
}
