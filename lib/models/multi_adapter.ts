import * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';
import type { ModelSource } from '../files/model_folder.js';
import type { LoadModelOptions, ModelClass } from './load_model.js';
import type { Model } from './model.js';
import { loadSeveral, SeveralModels } from './several_models.js';
import { T2IAdapter } from './t2i_adapter.js';

/** One T2I-Adapter, or several together. */
export type Adapters = T2IAdapter | MultiAdapter;

/**
 * Several T2I-Adapters that steer together: their outputs are added up.
 * Equals diffusers' MultiAdapter.
 */
export class MultiAdapter extends SeveralModels<T2IAdapter> {
  static className = 'MultiAdapter';

  /** @throws TypeError for less than two, RangeError for adapters whose states differ in size. */
  constructor(readonly adapters: readonly T2IAdapter[]) {
    super('adapters', adapters);
    if (adapters.length < 2) throw new TypeError(`adapter: got a list of ${adapters.length}, takes at least two; one is a T2IAdapter`);
    const sizes = adapters.map(({ states }) => states.map(({ channels, scale }) => `${channels} at 1/${scale}`));
    const other = sizes.find(each => String(each) !== String(sizes[0]));
    if (other) throw new RangeError(`adapter: got states of channels ${show(sizes[0])} and ${show(other)}, takes adapters with the same`);
  }

  /**
   * Loads what diffusers' `save_pretrained` writes: `adapter`, `adapter_1`, `adapter_2`, ... side by side.
   * @param source the folder that they lie in, such as a pipeline's; or the path of the first one, as in `./mine/adapter`.
   * @param options `subfolder` is what the first one is called, by default `adapter`.
   * @throws as Model.fromPretrained, TypeError if there is only one.
   */
  static override async fromPretrained<M extends Model<unknown>>(
    this: ModelClass<M>, source: ModelSource, options: LoadModelOptions = {},
  ): Promise<M> {
    const adapters = await loadSeveral(T2IAdapter, 'adapter', source, options);
    try {
      return new this(adapters as never);
    } catch (error) {
      adapters.forEach(adapter => adapter.dispose());
      throw error;
    }
  }

  /**
   * The tensors to add to the states of a UNet: the weighted sum of the adapters' outputs.
   * @param pictures one batch for each adapter.
   * @param weights by default all are equal and their sum is 1; an adapter with 0 does not run.
   * @returns as T2IAdapter's; the caller disposes them.
   */
  compute(pictures: readonly tf.Tensor[], weights: readonly number[] = this.adapters.map(() => 1 / this.adapters.length)): tf.Tensor[] {
    for (const [name, list] of Object.entries({ pictures, weights })) {
      if (list.length === this.adapters.length) continue;
      throw new RangeError(`adapter ${name}: got a list of ${list.length}, takes one of ${this.adapters.length}`);
    }
    const used = this.adapters.map((_, i) => i).filter(i => weights[i] !== 0);
    const weighted = used.map(i => this.adapters[i].forward(pictures[i]).map(state => tf.mul(state, weights[i])));
    if (weighted.length === 0) return this.adapters[0].forward(pictures[0]).map(state => tf.zerosLike(state));
    return weighted.reduce((sum, states) => sum.map((state, i) => tf.add(state, states[i])));
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
    return this.adapters[0].computeOutputShape(Array.isArray(inputShape[0]) ? inputShape[0] as tf.Shape : inputShape as tf.Shape);
  }
}
