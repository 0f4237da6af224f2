import { show } from '../../core/checks.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import type { Scheduler } from '../../schedulers/scheduler.js';

/** What old checkpoints' configs say otherwise than their training was, as diffusers takes it. What was passed in stays as it is. */

/** `scheduler`, or another like it that takes 1 for its steps_offset and clips nothing. */
export function correctScheduler(scheduler: Scheduler): Scheduler {
  const { steps_offset = 1, clip_sample = false } = scheduler.config as { steps_offset?: number; clip_sample?: boolean };
  if (steps_offset === 1 && !clip_sample) return scheduler;
  console.warn(`scheduler config: steps_offset ${steps_offset} and clip_sample ${clip_sample} are outdated, taking 1 and false`);
  return scheduler.clone({ ...(steps_offset !== 1 && { steps_offset: 1 }), ...(clip_sample && { clip_sample: false }) });
}

/** The `sample_size` that a UNet was trained on: before 0.9.0, diffusers saved its own default for the 64 of SD1.x. */
export function trainedSampleSize(config: UNet2DConditionConfig): UNet2DConditionConfig['sample_size'] {
  const { _diffusers_version: version, sample_size } = config;
  const [, major, minor = '0'] = /^\s*v?(\d+)(?:\.(\d+))?/i.exec(version ?? '') ?? [];
  const isOutdated = Number(major) === 0 && Number(minor) < 9 && typeof sample_size === 'number' && sample_size < 64;
  return isOutdated ? 64 : sample_size;
}

/** Says so where that is not what the config says. */
export function warnOfSampleSize(config: UNet2DConditionConfig): void {
  const trained = trainedSampleSize(config);
  if (trained === config.sample_size) return;
  const { _diffusers_version: version, sample_size } = config;
  console.warn(`unet config: sample_size ${sample_size} of diffusers ${show(version)} is outdated, taking ${trained}`);
}
