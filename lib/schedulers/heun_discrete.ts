import * as tf from '@tensorflow/tfjs';
import type { ClippingConfig } from './limits.js';
import { SigmaScheduler, type SigmaSchedulerConfig } from './sigma_scheduler.js';
import { respacingDefaults } from './sigmas.js';
import type { Steps } from './steps.js';
import type { StepOutput } from './types.js';
import { weightedQuotient, weightedSum } from './weighted_sum.js';

export interface HeunDiscreteConfig extends SigmaSchedulerConfig, ClippingConfig {}

/**
 * Heun's method (arXiv:2206.00364, algorithm 1): each step but the last calls the model a second time, at its end.
 * Takes lists of timesteps.
 * Equals HeunDiscreteScheduler of diffusers.
 */
export class HeunDiscreteScheduler extends SigmaScheduler<HeunDiscreteConfig> {
  static override readonly className = 'HeunDiscreteScheduler';
  static override readonly defaults: HeunDiscreteConfig = {
    ...SigmaScheduler.defaults, ...respacingDefaults, beta_start: 0.00085, beta_end: 0.012, clip_sample: false, clip_sample_range: 1,
  };
  override readonly order = 2;
  protected override readonly takes = ['timesteps'] as const;
  /** Sample and slope at the beginning of a step that is half done. */
  private readonly origin = this.remember(1);
  private readonly slope = this.remember(1);

  protected override plan(steps: Steps): void {
    super.plan(steps);
    this.timesteps = this.timesteps.flatMap((t, i) => i === 0 ? [t] : [t, t]);
    this.sigmas = this.doubled(this.sigmas);
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): StepOutput {
    const index = this.indexAt(timestep);
    const isFirstHalf = this.origin.length === 0;
    const [from, to] = isFirstHalf ? [this.sigmas[index], this.sigmas[index + 1]] : [this.sigmas[index - 1], this.sigmas[index]];
    const level = isFirstHalf ? from : to;
    const predOriginalSample = this.limit(this.predictOriginal(modelOutput, sample, level));
    const slope = weightedQuotient(level, [1, sample], [-1, predOriginalSample]);
    if (isFirstHalf) {
      this.origin.push(sample);
      this.slope.push(slope);
      return { prevSample: weightedSum([1, sample], [to - from, slope]), predOriginalSample };
    }
    const half = (to - from) / 2;
    const prevSample = weightedSum([1, this.origin.at(0)], [half, this.slope.at(0)], [half, slope]);
    this.origin.clear();
    this.slope.clear();
    return { prevSample, predOriginalSample };
  }
}
