import * as tf from '@tensorflow/tfjs';
import { DistilledScheduler } from './distilled_scheduler.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

const DATA_VARIANCE = 0.25;

/**
 * Latent consistency models (arXiv:2310.04378): predicts the clean sample at each step, and adds noise again for the next. Takes lists of
 * timesteps; `predOriginalSample` is diffusers' `denoised`.
 * Equals LCMScheduler of diffusers.
 */
export class LCMScheduler extends DistilledScheduler {
  static override readonly className = 'LCMScheduler';

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const index = this.indexAt(timestep);
    const product = this.alphaProd(timestep);
    const scaled = timestep * this.settings.timestep_scaling;
    const original = this.limit(this.predictOriginal(modelOutput, sample, Math.sqrt(product), Math.sqrt(1 - product)));
    const predOriginalSample = weightedSum( // the sample itself where there is no noise
      [scaled / Math.sqrt(scaled ** 2 + DATA_VARIANCE), original], [DATA_VARIANCE / (scaled ** 2 + DATA_VARIANCE), sample],
    );
    if (index === this.numInferenceSteps - 1) return { prevSample: predOriginalSample.clone(), predOriginalSample };
    const nextProduct = this.alphaProd(this.timesteps[index + 1] ?? timestep);
    const noise = this.drawNoise(sample, options);
    const prevSample = weightedSum([Math.sqrt(nextProduct), predOriginalSample], [Math.sqrt(1 - nextProduct), noise]);
    return { prevSample, predOriginalSample };
  }
}
