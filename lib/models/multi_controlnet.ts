import type * as tf from '@tensorflow/tfjs';
import type { ModelSource } from '../files/model_folder.js';
import { ControlNetModel, type ControlConditions } from './controlnet.js';
import type { ControlNetOutput } from './controlnet_output.js';
import type { LoadModelOptions, ModelClass } from './load_model.js';
import type { Model } from './model.js';
import { SeveralControlNets } from './several_controlnets.js';
import { loadSeveral } from './several_models.js';
import type { UNetConditions } from './unet_down_path.js';

/** The inputs of several ControlNets, in their order. */
export interface MultiControlConditions extends Pick<ControlConditions, 'guessMode'> {
  /** The picture for each, within [0, 1]: `[batch, height, width, conditioning_channels]`. */
  controlnetCond: readonly tf.Tensor[];
  /** How strongly each steers: 1 by default; a ControlNet with 0 does not run. */
  conditioningScale?: readonly number[];
}

/**
 * Several ControlNets that steer together: their outputs are added up.
 * Equals diffusers' MultiControlNetModel.
 */
export class MultiControlNetModel extends SeveralControlNets<ControlNetModel> {
  static className = 'MultiControlNetModel';

  /**
   * Loads what diffusers' `save_pretrained` writes: `controlnet`, `controlnet_1`, `controlnet_2`, ... side by side.
   * @param source the folder that they lie in, such as a pipeline's; or the path of the first one, as in `./mine/controlnet`.
   * @param options `subfolder` is what the first one is called, by default `controlnet`.
   * @throws as Model.fromPretrained.
   */
  static override async fromPretrained<M extends Model<unknown>>(
    this: ModelClass<M>, source: ModelSource, options: LoadModelOptions = {},
  ): Promise<M> {
    return new this(await loadSeveral(ControlNetModel, 'controlnet', source, options) as never);
  }

  /** The tensors to add to the states of a UNet that gets the same inputs; undefined if none of the ControlNets runs. */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[], conditions: UNetConditions & MultiControlConditions,
  ): ControlNetOutput | undefined {
    const { controlnetCond, conditioningScale: scales, ...told } = conditions;
    return this.sum((net, i, conditioningScale) =>
      net.forward(sample, timestep, { ...told, controlnetCond: controlnetCond[i], conditioningScale }), scales);
  }
}
