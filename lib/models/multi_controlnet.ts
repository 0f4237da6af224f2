import * as tf from '@tensorflow/tfjs';
import type { ModelSource } from '../files/model_folder.js';
import { ControlNetModel, type ControlConditions } from './controlnet.js';
import type { ControlNetOutput } from './controlnet_output.js';
import type { LoadModelOptions, ModelClass } from './load_model.js';
import type { Model } from './model.js';
import { loadSeveral, SeveralModels } from './several_models.js';
import type { UNetConditions } from './unet_down_path.js';

/** What steers a UNet: one ControlNet, or several together. */
export type ControlNets = ControlNetModel | MultiControlNetModel;

/** What each of several ControlNets is told, in their order. */
export interface MultiControlConditions extends Pick<ControlConditions, 'guessMode'> {
  controlnetCond: readonly tf.Tensor[];
  /** How strongly each steers: 1 by default; one that is 0 does not run. */
  conditioningScale?: readonly number[];
}

/**
 * Several ControlNets that steer together: what they give is added up.
 * Equals diffusers' MultiControlNetModel.
 */
export class MultiControlNetModel extends SeveralModels<ControlNetModel> {
  static className = 'MultiControlNetModel';

  /** @throws TypeError for none. */
  constructor(readonly nets: readonly ControlNetModel[]) {
    super('nets', nets);
    if (nets.length === 0) throw new TypeError('controlnet: got an empty list, takes at least one');
  }

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

  /** What to add to the states of a UNet that is told the same; undefined if none of them runs. */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[], conditions: UNetConditions & MultiControlConditions,
  ): ControlNetOutput | undefined {
    const { controlnetCond, conditioningScale = this.nets.map(() => 1), ...told } = conditions;
    let sum: ControlNetOutput | undefined;
    this.nets.forEach((net, i) => {
      if (conditioningScale[i] === 0) return;
      const one = net.forward(sample, timestep, { ...told, controlnetCond: controlnetCond[i], conditioningScale: conditioningScale[i] });
      sum = sum ? addUp(sum, one) : one;
    });
    return sum;
  }
}

function addUp(a: ControlNetOutput, b: ControlNetOutput): ControlNetOutput {
  const down = a.downBlockResSamples.map((state, i) => tf.add(state, b.downBlockResSamples[i]));
  const mid = tf.add(a.midBlockResSample, b.midBlockResSample);
  tf.dispose([a, b]);
  return { downBlockResSamples: down, midBlockResSample: mid };
}
