import * as tf from '@tensorflow/tfjs';
import { BetaScheduler } from './beta_scheduler.js';
import { thresholdingDefaults, type ClippingConfig, type ThresholdingConfig } from './limits.js';
import { roundHalfToEven, spacedTimesteps, type SpacingConfig } from './timesteps.js';
import type { BetaSchedulerConfig, StepOptions, StepOutput } from './types.js';
import { weightedQuotient, weightedSum } from './weighted_sum.js';

export interface DDIMConfig extends BetaSchedulerConfig, SpacingConfig, ThresholdingConfig, ClippingConfig {
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr: boolean;
  /** Whether the last step ends without noise, or else with that of training step 0. */
  set_alpha_to_one: boolean;
}

/**
 * Denoising diffusion implicit models (arXiv:2010.02502): deterministic, or with noise for `eta` above 0.
 * Equals DDIMScheduler of diffusers.
 */
export class DDIMScheduler extends BetaScheduler<DDIMConfig> {
  static override readonly className: string = 'DDIMScheduler';
  static override readonly defaults: DDIMConfig = {
    ...BetaScheduler.defaults, ...thresholdingDefaults, clip_sample: true, clip_sample_range: 1, set_alpha_to_one: true,
    timestep_spacing: 'leading', steps_offset: 0, rescale_betas_zero_snr: false,
  };

  protected override plan(): void {
    this.timesteps = spacedTimesteps(this.settings, this.numInferenceSteps).map(roundHalfToEven);
  }

  protected override advance(
    modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions,
  ): StepOutput {
    const { eta = 0, useClippedModelOutput = false, varianceNoise } = options;
    const product = this.alphaProd(timestep);
    const nextProduct = this.nextAlphaProd(timestep, this.settings.set_alpha_to_one ? 1 : this.alphaProd(0));
    const deviation = eta && eta * Math.sqrt((1 - nextProduct) / (1 - product) * (1 - product / nextProduct));
    const { original, noise } = this.separate(modelOutput, sample, product, useClippedModelOutput);
    const prevSample = weightedSum(
      [Math.sqrt(nextProduct), original],
      [Math.sqrt(Math.max(1 - nextProduct - deviation ** 2, 0)), noise],
      ...(eta > 0 ? [[deviation, varianceNoise ?? this.drawNoise(sample, options)] as const] : []),
    );
    return { prevSample, predOriginalSample: original };
  }

  /** The original, within its bounds, and the noise that a sample consists of; the noise may be what the bounded original leaves. */
  protected separate(
    modelOutput: tf.Tensor, sample: tf.Tensor, product: number, useClipped = false,
  ): { original: tf.Tensor; noise: tf.Tensor } {
    const [alpha, sigma] = [Math.sqrt(product), Math.sqrt(1 - product)];
    const original = this.limit(this.predictOriginal(modelOutput, sample, alpha, sigma));
    const noise = useClipped
      ? weightedQuotient(sigma, [1, sample], [-alpha, original])
      : this.predictNoise(modelOutput, sample, alpha, sigma);
    return { original, noise };
  }
}
