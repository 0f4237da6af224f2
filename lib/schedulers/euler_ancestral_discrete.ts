import * as tf from '@tensorflow/tfjs';
import { SigmaScheduler, type SigmaSchedulerConfig } from './sigma_scheduler.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

export interface EulerAncestralDiscreteConfig extends SigmaSchedulerConfig {
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr: boolean;
}

/** The noise to add, and the sigma to step down to before, so that a step from sigma `from` ends at `to`. */
export function ancestralSigmas(from: number, to: number): { up: number; down: number } {
  const down = to ** 2 / from;
  return { up: Math.sqrt(to ** 2 - down ** 2), down };
}

/**
 * Euler's method to below the next sigma, and noise up to it again: the sample depends on the generator at every step.
 * Equals EulerAncestralDiscreteScheduler of diffusers.
 */
export class EulerAncestralDiscreteScheduler extends SigmaScheduler<EulerAncestralDiscreteConfig> {
  static override readonly className = 'EulerAncestralDiscreteScheduler';
  static override readonly defaults: EulerAncestralDiscreteConfig = { ...SigmaScheduler.defaults, rescale_betas_zero_snr: false };
  static override readonly choices = { ...SigmaScheduler.choices, prediction_type: ['epsilon', 'v_prediction'] };

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const index = this.indexAt(timestep);
    const sigma = this.sigmas[index];
    const { up, down } = ancestralSigmas(sigma, this.sigmas[index + 1]);
    const predOriginalSample = this.predictOriginal(modelOutput, sample, sigma);
    const prevSample = weightedSum(
      [down / sigma, sample], [1 - down / sigma, predOriginalSample], [up, this.drawNoise(sample, options)],
    );
    return { prevSample, predOriginalSample };
  }
}
