import * as tf from '@tensorflow/tfjs';
import { BetaScheduler } from './beta_scheduler.js';
import { thresholdingDefaults, type ClippingConfig, type ThresholdingConfig } from './limits.js';
import { customList, type Steps } from './steps.js';
import { roundHalfToEven, spacedTimesteps, type SpacingConfig } from './timesteps.js';
import type { BetaSchedulerConfig, StepOptions, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

const varianceTypes = ['fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log', 'learned', 'learned_range'] as const;

export interface DDPMConfig extends BetaSchedulerConfig, SpacingConfig, ThresholdingConfig, ClippingConfig {
  /** Which variance the added noise has; `learned` ones are predicted by the model, in as many channels again. */
  variance_type: typeof varianceTypes[number];
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr: boolean;
}

/**
 * Denoising diffusion probabilistic models (arXiv:2006.11239): fresh noise at every step but the last.
 * Takes lists of timesteps.
 * Equals DDPMScheduler of diffusers, except that `fixed_large_log` means the same variance as `fixed_large`.
 */
export class DDPMScheduler extends BetaScheduler<DDPMConfig> {
  static override readonly className: string = 'DDPMScheduler';
  static override readonly defaults: DDPMConfig = {
    ...BetaScheduler.defaults, ...thresholdingDefaults, variance_type: 'fixed_small', clip_sample: true, clip_sample_range: 1,
    timestep_spacing: 'leading', steps_offset: 0, rescale_betas_zero_snr: false,
  };
  static override readonly choices = { ...BetaScheduler.choices, variance_type: varianceTypes };
  protected override readonly takes = ['timesteps'] as const;

  protected override plan(steps: Steps): void {
    this.timesteps = customList(steps, 'timesteps') ?? spacedTimesteps(this.settings, this.numInferenceSteps).map(roundHalfToEven);
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const next = this.timesteps[this.indexOf(timestep) + 1] ?? -1;
    const product = this.alphaProd(timestep);
    const nextProduct = next >= 0 ? this.alphaProd(next) : 1;
    const beta = 1 - product / nextProduct;
    const { mean, predOriginalSample } = this.expect(modelOutput, sample, product, nextProduct);
    if (timestep === 0) return { prevSample: mean, predOriginalSample };
    const smallest = Math.max((1 - nextProduct) / (1 - product) * beta, 1e-20);
    const deviation = this.deviation(modelOutput, smallest, beta);
    return { prevSample: weightedSum([1, mean], [deviation, this.drawNoise(sample, options)]), predOriginalSample };
  }

  /** The next sample without its noise, and the original behind it. */
  protected expect(
    modelOutput: tf.Tensor, sample: tf.Tensor, product: number, nextProduct: number,
  ): { mean: tf.Tensor; predOriginalSample: tf.Tensor } {
    const predicted = this.predictOriginal(this.meanOf(modelOutput), sample, Math.sqrt(product), Math.sqrt(1 - product));
    const predOriginalSample = this.limit(predicted);
    const mean = weightedSum(
      [Math.sqrt(nextProduct) * (1 - product / nextProduct) / (1 - product), predOriginalSample],
      [Math.sqrt(product / nextProduct) * (1 - nextProduct) / (1 - product), sample],
    );
    return { mean, predOriginalSample };
  }

  /** The standard deviation of the noise to add, from the smallest and largest variance there can be or as the model predicts it. */
  private deviation(modelOutput: tf.Tensor, smallest: number, largest: number): number | tf.Tensor {
    switch (this.settings.variance_type) {
      case 'fixed_small':
      case 'fixed_small_log': return Math.sqrt(smallest);
      case 'fixed_large':
      case 'fixed_large_log': return Math.sqrt(largest);
      case 'learned': return tf.split(modelOutput, 2, -1)[1].sqrt();
      case 'learned_range': { // from -1 to 1: where between the two, on a logarithmic scale
        const share = tf.split(modelOutput, 2, -1)[1].add(1).div(2);
        return share.mul(Math.log(largest / smallest)).add(Math.log(smallest)).div(2).exp();
      }
    }
  }
}
