import type * as tf from '@tensorflow/tfjs';
import { BetaScheduler } from './beta_scheduler.js';
import type { DDIMConfig } from './ddim.js';
import { roundHalfToEven, spacedTimesteps } from './timesteps.js';
import type { StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

export type DDIMInverseConfig = Omit<DDIMConfig, 'thresholding' | 'dynamic_thresholding_ratio' | 'sample_max_value'>;

/**
 * DDIM backwards (arXiv:2010.02502): from a clean sample, along rising timesteps, to the noise that DDIM would make it of.
 * Equals DDIMInverseScheduler of diffusers.
 */
export class DDIMInverseScheduler extends BetaScheduler<DDIMInverseConfig> {
  static override readonly className = 'DDIMInverseScheduler';
  static override readonly interchangeable = false;
  static override readonly defaults: DDIMInverseConfig = {
    ...BetaScheduler.defaults, clip_sample: true, clip_sample_range: 1, set_alpha_to_one: true, timestep_spacing: 'leading',
    steps_offset: 0, rescale_betas_zero_snr: false,
  };
  static override readonly choices = { ...BetaScheduler.choices, timestep_spacing: ['leading', 'trailing'] };

  constructor(options: Partial<DDIMInverseConfig> = {}) {
    super(options);
    this.timesteps.reverse();
  }

  protected override plan(): void {
    this.timesteps = spacedTimesteps(this.settings, this.numInferenceSteps).map(roundHalfToEven).reverse();
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): StepOutput {
    const { num_train_timesteps: trained, set_alpha_to_one } = this.settings;
    const before = Math.min(timestep - Math.floor(trained / this.numInferenceSteps), trained - 1);
    const product = before >= 0 ? this.alphaProd(before) : set_alpha_to_one ? 1 : this.alphaProd(0);
    const nextProduct = this.alphaProd(timestep);
    const [alpha, sigma] = [Math.sqrt(product), Math.sqrt(1 - product)];
    const predOriginalSample = this.limit(this.predictOriginal(modelOutput, sample, alpha, sigma));
    const noise = this.predictNoise(modelOutput, sample, alpha, sigma);
    const prevSample = weightedSum([Math.sqrt(nextProduct), predOriginalSample], [Math.sqrt(1 - nextProduct), noise]);
    return { prevSample, predOriginalSample };
  }
}
