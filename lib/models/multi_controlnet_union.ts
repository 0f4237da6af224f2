import type * as tf from '@tensorflow/tfjs';
import type { ModelSource } from '../files/model_folder.js';
import type { ControlNetOutput } from './controlnet_output.js';
import { ControlNetUnionModel } from './controlnet_union.js';
import type { LoadModelOptions, ModelClass } from './load_model.js';
import type { Model } from './model.js';
import type { MultiControlConditions } from './multi_controlnet.js';
import { SeveralControlNets } from './several_controlnets.js';
import { loadSeveral } from './several_models.js';
import type { UNetConditions } from './unet_down_path.js';

/** The inputs of several ControlNet-Unions, in their order: one picture each. */
export interface MultiControlUnionConditions extends MultiControlConditions {
  /** The mode that each picture is of. */
  controlTypeIdx: readonly number[];
}

/**
 * Several ControlNet-Unions that steer together, each by one picture: their outputs are added up.
 * Equals diffusers' MultiControlNetUnionModel as its pipelines call it.
 */
export class MultiControlNetUnionModel extends SeveralControlNets<ControlNetUnionModel> {
  static className = 'MultiControlNetUnionModel';

  /** As MultiControlNetModel.fromPretrained. */
  static override async fromPretrained<M extends Model<unknown>>(
    this: ModelClass<M>, source: ModelSource, options: LoadModelOptions = {},
  ): Promise<M> {
    return new this(await loadSeveral(ControlNetUnionModel, 'controlnet', source, options) as never);
  }

  /** The tensors to add to the states of a UNet that gets the same inputs; undefined if none of the ControlNets runs. */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[], conditions: UNetConditions & MultiControlUnionConditions,
  ): ControlNetOutput | undefined {
    const { controlnetCond, controlTypeIdx, conditioningScale: scales, ...told } = conditions;
    return this.sum((net, i, conditioningScale) => net.forward(sample, timestep, {
      ...told, controlnetCond: [controlnetCond[i]], controlTypeIdx: [controlTypeIdx[i]], conditioningScale,
    }), scales);
  }
}
