import * as tf from '@tensorflow/tfjs';
import { DistilledScheduler } from './distilled_scheduler.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

/**
 * Trajectory consistency distillation (arXiv:2402.19159): `eta` from 0, deterministic, to 1 says how far to overshoot and add noise again.
 * Takes lists of timesteps.
 * Equals TCDScheduler of diffusers.
 */
export class TCDScheduler extends DistilledScheduler {
  static override readonly className = 'TCDScheduler';

  /** Any timestep will do where the original steps are asked for. */
  protected override originalTimesteps(asked: number | undefined, strength: number): number[] {
    const steps = super.originalTimesteps(asked, strength);
    return asked === undefined ? steps : Array.from({ length: Math.trunc(this.settings.num_train_timesteps * strength) }, (_, t) => t);
  }

  protected override advance(
    modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions,
  ): StepOutput {
    const { eta = 0.3 } = options;
    if (!(eta >= 0 && eta <= 1)) throw new RangeError(`${this.name} eta: got ${eta}, takes 0 to 1`);
    const index = this.indexAt(timestep);
    const next = this.timesteps[index + 1] ?? 0;
    const overshot = Math.floor(Math.fround(Math.fround(1 - eta) * next));
    const [product, nextProduct, overshotProduct] = [timestep, next, overshot].map(t => this.alphaProd(t));
    const [alpha, sigma] = [Math.sqrt(product), Math.sqrt(1 - product)];
    const predOriginalSample = this.predictOriginal(modelOutput, sample, alpha, sigma);
    const overshotSample = weightedSum(
      [Math.sqrt(overshotProduct), predOriginalSample],
      [Math.sqrt(1 - overshotProduct), this.predictNoise(modelOutput, sample, alpha, sigma)],
    );
    if (eta === 0 || index === this.numInferenceSteps - 1) return { prevSample: overshotSample, predOriginalSample };
    const ratio = nextProduct / overshotProduct;
    const prevSample = weightedSum([Math.sqrt(ratio), overshotSample], [Math.sqrt(1 - ratio), this.drawNoise(sample, options)]);
    return { prevSample, predOriginalSample };
  }
}
