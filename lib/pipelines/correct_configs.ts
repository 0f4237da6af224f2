import { show } from '../core/checks.js';
import type { UNet2DConditionModel } from '../models/unet_2d_condition_model.js';
import type { Scheduler } from '../schedulers/scheduler.js';

/** Sets right what old checkpoints' configs say otherwise than their training was, as diffusers does. */
export function correctConfigs({ scheduler, unet }: { scheduler: Scheduler; unet: UNet2DConditionModel }): void {
  correctScheduler(scheduler);
  correctUnet(unet);
}

function correctScheduler(scheduler: Scheduler): void {
  const { steps_offset = 1, clip_sample = false } = scheduler.config as { steps_offset?: number; clip_sample?: boolean };
  if (steps_offset === 1 && !clip_sample) return;
  console.warn(`scheduler config: steps_offset ${steps_offset} and clip_sample ${clip_sample} are outdated, taking 1 and false`);
  const correction = { ...(steps_offset !== 1 && { steps_offset: 1 }), ...(clip_sample && { clip_sample: false }) };
  Object.assign(scheduler, { config: Object.freeze({ ...scheduler.config, ...correction }) });
}

/** Before 0.9.0, diffusers saved its own default for what SD1.x was trained on. */
function correctUnet(unet: UNet2DConditionModel): void {
  const { _diffusers_version: version, sample_size } = unet.config;
  const [, major, minor = '0'] = /^\s*v?(\d+)(?:\.(\d+))?/i.exec(version ?? '') ?? [];
  if (Number(major) !== 0 || Number(minor) >= 9 || typeof sample_size !== 'number' || sample_size >= 64) return;
  console.warn(`unet config: sample_size ${sample_size} of diffusers ${show(version)} is outdated, taking 64`);
  Object.assign(unet, { config: Object.freeze({ ...unet.config, sample_size: 64 }) });
}
