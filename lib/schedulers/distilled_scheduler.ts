import { checkInteger, show } from '../core/checks.js';
import { BetaScheduler } from './beta_scheduler.js';
import { thresholdingDefaults, type ClippingConfig, type ThresholdingConfig } from './limits.js';
import { customList, type Steps, type TimestepsOptions } from './steps.js';
import type { SpacingConfig } from './timesteps.js';
import type { BetaSchedulerConfig } from './types.js';

/** Config of the schedulers for distilled models. */
export interface DistilledConfig extends BetaSchedulerConfig, SpacingConfig, ThresholdingConfig, ClippingConfig {
  /** The steps that the model was distilled for, of which a run takes a few. */
  original_inference_steps: number;
  /** Whether the last step ends without noise, or else with that of training step 0. */
  set_alpha_to_one: boolean;
  /** What timesteps are multiplied by in the boundary condition of consistency models. */
  timestep_scaling: number;
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr: boolean;
}

/** LCM and TCD: a few steps of those that the model was distilled for. Take lists of timesteps. */
export abstract class DistilledScheduler extends BetaScheduler<DistilledConfig> {
  static override readonly interchangeable = false;
  static override readonly defaults: DistilledConfig = {
    ...BetaScheduler.defaults, ...thresholdingDefaults, beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear',
    original_inference_steps: 50, clip_sample: false, clip_sample_range: 1, set_alpha_to_one: true, timestep_spacing: 'leading',
    steps_offset: 0, timestep_scaling: 10, rescale_betas_zero_snr: false,
  };
  protected override readonly takes = ['timesteps'] as const;

  protected override plan(steps: Steps, { originalInferenceSteps, strength = 1 }: TimestepsOptions): void {
    const count = this.numInferenceSteps;
    const original = this.originalTimesteps(originalInferenceSteps, strength);
    const custom = customList(steps, 'timesteps');
    if (custom) {
      const strange = custom.filter(t => !original.includes(t));
      if (strange.length > 0) {
        console.warn(`${this.name}: the model was not distilled for the timesteps ${show(strange)}, results may be poor`);
      }
      this.timesteps = custom.slice(Math.max(count - Math.trunc(count * strength), 0));
      return;
    }
    if (count > original.length) {
      const limit = `at most the ${original.length} original steps that strength leaves`;
      throw new RangeError(`${this.name} numInferenceSteps: got ${count}, takes ${limit}`);
    }
    original.reverse();
    this.timesteps = Array.from({ length: count }, (_, i) => original[Math.floor(i * (original.length / count))]);
  }

  /** The timesteps that the model was distilled for, rising. */
  protected originalTimesteps(asked: number | undefined, strength: number): number[] {
    const { num_train_timesteps: trained, original_inference_steps } = this.settings;
    const count = checkInteger(`${this.name} originalInferenceSteps`, asked ?? original_inference_steps, 1, trained);
    const stride = Math.floor(trained / count);
    return Array.from({ length: Math.trunc(count * strength) }, (_, i) => (i + 1) * stride - 1);
  }
}
