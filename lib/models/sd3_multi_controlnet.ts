import type * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';
import type { ModelSource } from '../files/model_folder.js';
import type { LoadModelOptions, ModelClass } from './load_model.js';
import type { Model } from './model.js';
import { SD3ControlNetModel, type SD3ControlConditions, type SD3ControlNetOutput } from './sd3_controlnet.js';
import { SeveralControlNets } from './several_controlnets.js';
import { loadSeveral } from './several_models.js';

/** One ControlNet for Stable Diffusion 3, or several together. */
export type SD3ControlNets = SD3ControlNetModel | SD3MultiControlNetModel;

/** The inputs of several ControlNets of Stable Diffusion 3, in their order. */
export interface SD3MultiControlConditions extends Omit<SD3ControlConditions, 'controlnetCond' | 'conditioningScale'> {
  /** The picture for each, as in SD3ControlConditions. */
  controlnetCond: readonly tf.Tensor[];
  /** How strongly each steers: 1 by default; a ControlNet with 0 does not run. */
  conditioningScale?: readonly number[];
}

/** What several have in common, as they are told the same and what they give is added behind the same blocks. */
const COMMON = [
  'num_layers', 'joint_attention_dim', 'use_pos_embed', 'extra_conditioning_channels', 'force_zeros_for_pooled_projection',
] as const;

/**
 * Several ControlNets of Stable Diffusion 3 that steer together: their outputs are added up.
 * Equals diffusers' SD3MultiControlNetModel.
 */
export class SD3MultiControlNetModel extends SeveralControlNets<SD3ControlNetModel> {
  static className = 'SD3MultiControlNetModel';

  /** @throws TypeError for none, RangeError for ControlNets of several kinds. */
  constructor(nets: readonly SD3ControlNetModel[]) {
    super(nets);
    for (const key of COMMON) {
      const [first, ...others] = nets.map(({ config }) => config[key]);
      const other = others.find(value => value !== first);
      if (other !== undefined) throw new RangeError(`controlnet: ${key}: got ${show(first)} and ${show(other)}, takes the same of all`);
    }
  }

  /** As MultiControlNetModel.fromPretrained. */
  static override async fromPretrained<M extends Model<unknown>>(
    this: ModelClass<M>, source: ModelSource, options: LoadModelOptions = {},
  ): Promise<M> {
    return new this(await loadSeveral(SD3ControlNetModel, 'controlnet', source, options) as never);
  }

  /** The tensors to add after the blocks of a transformer that gets the same inputs; undefined if none of the ControlNets runs. */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[], conditions: SD3MultiControlConditions,
  ): SD3ControlNetOutput | undefined {
    const { controlnetCond, conditioningScale: scales, ...told } = conditions;
    return this.sum((net, i, conditioningScale) =>
      net.forward(sample, timestep, { ...told, controlnetCond: controlnetCond[i], conditioningScale }), scales);
  }
}
