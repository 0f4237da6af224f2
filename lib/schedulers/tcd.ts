import * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../core/checks.js';
import { randn } from '../core/random.js';
import { distilledDefaults, distilledTimesteps, type DistilledConfig } from './distilled_schedule.js';
import { Scheduler } from './scheduler.js';
import { weightedSum } from './tensors.js';
import type { StepOptions, StepOutput, Steps, StepsOptions } from './types.js';

/**
 * Trajectory consistency distillation (arXiv:2402.19159): `eta` from 0, deterministic, to 1 says how far to overshoot and add noise again.
 * Takes lists of timesteps.
 * Equals TCDScheduler of diffusers.
 */
export class TCDScheduler extends Scheduler<DistilledConfig> {
  static override readonly className = 'TCDScheduler';
  static override readonly interchangeable = false;
  static override readonly defaults = distilledDefaults;
  protected override readonly takes = ['timesteps'] as const;

  protected override plan(steps: Steps, { originalInferenceSteps, strength = 1 }: StepsOptions): void {
    const { num_train_timesteps: trained, original_inference_steps } = this.settings;
    const originalSteps = checkInteger(`${this.name} originalInferenceSteps`, originalInferenceSteps ?? original_inference_steps, 1, trained);
    const stride = Math.floor(trained / originalSteps);
    const original = originalInferenceSteps === undefined
      ? Array.from({ length: Math.trunc(originalSteps * strength) }, (_, i) => (i + 1) * stride - 1)
      : Array.from({ length: Math.trunc(trained * strength) }, (_, i) => i); // asked for: any timestep will do
    this.timesteps = distilledTimesteps(this.name, original, this.numInferenceSteps, this.customTimesteps(steps), strength);
  }

  protected override advance(
    modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, { eta = 0.3, generator }: StepOptions,
  ): StepOutput {
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
    const prevSample = weightedSum([Math.sqrt(ratio), overshotSample], [Math.sqrt(1 - ratio), randn(sample.shape, generator)]);
    return { prevSample, predOriginalSample };
  }
}
