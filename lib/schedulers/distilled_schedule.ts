import { show } from '../core/checks.js';
import type { SchedulerConfig } from './types.js';
import type { SpacingConfig } from './timesteps.js';

/** Config of the schedulers for distilled models. */
export interface DistilledConfig extends SchedulerConfig, SpacingConfig {
  /** The steps that the model was distilled for, of which a run takes a few. */
  original_inference_steps: number;
  clip_sample: boolean;
  clip_sample_range: number;
  set_alpha_to_one: boolean;
  thresholding: boolean;
  dynamic_thresholding_ratio: number;
  sample_max_value: number;
  timestep_scaling: number;
  rescale_betas_zero_snr: boolean;
}

export const distilledDefaults: DistilledConfig = {
  num_train_timesteps: 1000, beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', trained_betas: null,
  original_inference_steps: 50, clip_sample: false, clip_sample_range: 1, set_alpha_to_one: true, steps_offset: 0, prediction_type: 'epsilon',
  thresholding: false, dynamic_thresholding_ratio: 0.995, sample_max_value: 1, timestep_spacing: 'leading', timestep_scaling: 10,
  rescale_betas_zero_snr: false,
};

/**
 * `count` timesteps in falling order, evenly from those that the model was distilled for; or the `custom` ones.
 * - `original`: the timesteps that the model was distilled for, rising.
 * - `strength`: the share of `custom` to run, from its end.
 * @throws RangeError if there are fewer original timesteps than `count`.
 */
export function distilledTimesteps(name: string, original: number[], count: number, custom: number[] | null, strength: number): number[] {
  if (custom) {
    const strange = custom.filter(t => !original.includes(t));
    if (strange.length > 0) console.warn(`${name}: the model was not distilled for the timesteps ${show(strange)}, results may be poor`);
    return custom.slice(Math.max(count - Math.trunc(count * strength), 0));
  }
  if (count > original.length) {
    throw new RangeError(`${name} numInferenceSteps: got ${count}, takes at most the ${original.length} original steps that strength leaves`);
  }
  const falling = original.slice().reverse();
  return Array.from({ length: count }, (_, i) => falling[Math.floor(i * (original.length / count))]);
}
