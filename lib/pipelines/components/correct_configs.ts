import { show } from '../../core/checks.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import type { Scheduler } from '../../schedulers/scheduler.js';

/** What old checkpoints' configs say otherwise than their training was, as diffusers takes it. What was passed in stays as it is. */

/** What some of a scheduler's options have to be, as far as it has them. */
export type MeantOptions = Readonly<Record<string, number | boolean>>;

/** `scheduler`, or another like it whose options are what is meant. */
export function correctScheduler(scheduler: Scheduler, meant: MeantOptions): Scheduler {
  const config = scheduler.config as unknown as Record<string, unknown>;
  const outdated = Object.entries(meant).filter(([name, value]) => Object.hasOwn(config, name) && config[name] !== value);
  if (outdated.length === 0) return scheduler;
  const got = outdated.map(([name]) => `${name} ${show(config[name])}`).join(' and ');
  const verb = outdated.length > 1 ? 'are' : 'is';
  console.warn(`scheduler config: ${got} ${verb} outdated, taking ${outdated.map(([, value]) => value).join(' and ')}`);
  return scheduler.clone(Object.fromEntries(outdated));
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
