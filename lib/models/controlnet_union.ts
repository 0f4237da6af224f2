import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkNumber, show } from '../core/checks.js';
import { Linear } from '../layers/linear.js';
import { ResidualAttentionBlock } from '../layers/residual_attention_block.js';
import { TimestepEmbedding } from '../layers/timestep_embedding.js';
import { ControlPath } from './control_path.js';
import type { ControlNetOutput } from './controlnet_output.js';
import { completeControlNetUnionConfig, type ControlNetUnionConfig } from './controlnet_union_config.js';
import type { UNetConditions, UNetInputs } from './unet_down_path.js';

/** The inputs of a ControlNet-Union besides those of a UNet. */
export interface ControlUnionConditions {
  /** The pictures to steer by, each as in ControlConditions. */
  controlnetCond: readonly tf.Tensor[];
  /** The mode of each picture: a number below the config's num_control_type. */
  controlTypeIdx: readonly number[];
  /** How strongly to steer: one number for all pictures, or a list; 1 by default. Several pictures are scaled before they are joined. */
  conditioningScale?: number | readonly number[];
  /** Whether outer states are steered less than inner ones, so that no prompt is needed. */
  guessMode?: boolean;
}

type UnionInputs = UNetInputs & { flags: tf.Tensor; pictures: tf.Tensor[]; scales: tf.Tensor[]; scale: tf.Tensor };

/**
 * A ControlNet for pictures of several kinds, its modes, of which it joins as many as are given.
 * - Weights: `task_embedding` `[num_control_type, num_trans_channel]`, and those below `transformer_layes.N`, `spatial_ch_projs`,
 *   `control_add_embedding`, and of a ControlNet.
 * Equals diffusers' ControlNetUnionModel.
 */
export class ControlNetUnionModel extends ControlPath<ControlNetUnionConfig> {
  static className = 'ControlNetUnionModel';
  /** As the configs of its authors' models say. */
  static readonly alsoCalled = ['ControlNetModel'];
  private readonly transformerLayers: readonly ResidualAttentionBlock[];
  private readonly spatialChProjs: Linear;
  private readonly controlAddEmbedding: TimestepEmbedding;

  constructor(config: Partial<ControlNetUnionConfig> = {}) {
    super(completeControlNetUnionConfig(config));
    const { num_control_type: modes, num_trans_channel: features, num_trans_head, num_trans_layer, num_proj_channel } = this.config;
    this.addParameter('task_embedding', [modes, features]);
    this.transformerLayers = this.addList('transformer_layes', num_trans_layer, () => new ResidualAttentionBlock(features, num_trans_head));
    this.spatialChProjs = this.add('spatial_ch_projs', new Linear(features, num_proj_channel));
    const embedding = new TimestepEmbedding(this.config.addition_time_embed_dim! * modes, this.tembChannels);
    this.controlAddEmbedding = this.add('control_add_embedding', embedding);
  }

  /**
   * The tensors to add to the states of a UNet that gets the same inputs. As in diffusers, pictures of a batch that differ influence each
   * other.
   * @param sample as the UNet's.
   * @param timestep as the UNet's.
   * @param conditions as the UNet's, and see ControlUnionConditions.
   * @returns tensors that the caller disposes.
   * @throws RangeError for a mode that does not exist, or lists of different lengths.
   */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[], conditions: UNetConditions & ControlUnionConditions,
  ): ControlNetOutput {
    const { controlnetCond: pictures, controlTypeIdx: modes, conditioningScale = 1, guessMode = false } = conditions;
    const scales = typeof conditioningScale === 'number' ? modes.map(() => conditioningScale) : conditioningScale;
    if (modes.length === 0) throw new RangeError('controlnet controlTypeIdx: got an empty list, takes at least one mode');
    modes.forEach(mode => checkInteger('controlnet controlTypeIdx', mode, 0, this.config.num_control_type - 1));
    for (const [name, { length }] of Object.entries({ controlnetCond: pictures, conditioningScale: scales })) {
      if (length !== modes.length) {
        throw new RangeError(`controlnet ${name}: got a list of ${length}, takes ${modes.length}, one for each mode of ${show(modes)}`);
      }
    }
    pictures.forEach(picture => this.checkPicture(picture, sample));
    const inputs: UnionInputs = {
      ...this.takeInputs(sample, timestep, conditions), flags: this.flags(modes), pictures: [...pictures],
      scales: scales.map(scale => tf.scalar(checkNumber('controlnet conditioningScale', scale))),
      scale: tf.scalar(modes.length === 1 ? scales[0] : 1),
    };
    return this.steer(`control ${modes.join(' ')}`, (inputs, isGraded) => this.control(inputs, modes, isGraded), inputs, guessMode);
  }

  /** Which modes there are, as sines and cosines of 1 and of 0: `[1, num_control_type * addition_time_embed_dim]`. */
  private flags(modes: readonly number[]): tf.Tensor {
    const { num_control_type, addition_time_embed_dim: dim } = this.config;
    const flags = Array.from({ length: num_control_type }, (_, mode) => modes.includes(mode) ? 1 : 0);
    return tf.reshape(this.sinusoid(flags, dim!), [1, num_control_type * dim!]);
  }

  /** What is added to each state, the middle's last. */
  private control({ flags, pictures, scales, scale, ...inputs }: UnionInputs, modes: readonly number[], isGraded: boolean): tf.Tensor[] {
    const conditions = this.lead(inputs, this.controlAddEmbedding.forward(flags));
    const first = this.convIn.forward(inputs.sample);
    return this.controlFrom(tf.addN([first, ...this.embed(pictures, scales, modes)]), conditions, scale, isGraded);
  }

  /** What is added to the first state: each picture, and to each of its channels what is made of the picture as a whole and of its mode. */
  private embed(pictures: readonly tf.Tensor[], scales: readonly tf.Tensor[], modes: readonly number[]): tf.Tensor[] {
    const scaled = (x: tf.Tensor, i: number) => pictures.length === 1 ? x : tf.mul(x, scales[i]);
    const embedded = pictures.map(picture => this.embedding.forward(picture));
    const tasks = modes.map(mode => tf.slice(this.parameter('task_embedding'), [mode, 0], [1, -1]));
    const wholes = embedded.map((x, i) => scaled(tf.add(tf.mean(x, [1, 2]), tasks[i]), i)); // [batch, channels]
    // The samples of a batch attend to each other, in each mode by itself: so does diffusers, whose layers expect the batch elsewhere.
    const attended = this.transformerLayers.reduce((x, layer) => layer.forward(x), tf.stack(wholes));
    const added = tf.unstack(this.spatialChProjs.forward(attended)).map(x => tf.reshape(x, [x.shape[0], 1, 1, x.shape[1]!]));
    return embedded.map((x, i) => scaled(tf.add(x, added[i]), i));
  }
}
