import type { SchedulerOptions } from '../protocol.js';

/** What people call a class. */
const NAMES: Record<string, string> = {
  DDIMScheduler: 'DDIM', DDPMScheduler: 'DDPM', DEISMultistepScheduler: 'DEIS', DPMSolverMultistepScheduler: 'DPM++ 2M', DPMSolverSinglestepScheduler: 'DPM++ 2S',
  EulerAncestralDiscreteScheduler: 'Euler a', EulerDiscreteScheduler: 'Euler', HeunDiscreteScheduler: 'Heun', KDPM2AncestralDiscreteScheduler: 'DPM2 a',
  KDPM2DiscreteScheduler: 'DPM2', LCMScheduler: 'LCM', LMSDiscreteScheduler: 'LMS', PNDMScheduler: 'PLMS', SASolverScheduler: 'SA-Solver', TCDScheduler: 'TCD',
  UniPCMultistepScheduler: 'UniPC', IPNDMScheduler: 'IPNDM',
};

export const SDE = 'sde-dpmsolver++';

export const RESPACINGS = { karras: 'use_karras_sigmas', exponential: 'use_exponential_sigmas', beta: 'use_beta_sigmas' } as const;
export type Respacing = keyof typeof RESPACINGS;

export function respacingOf(options: SchedulerOptions): Respacing | undefined {
  return (Object.keys(RESPACINGS) as Respacing[]).find(each => options[RESPACINGS[each]]);
}

/** 'DPM++ 2M SDE Karras', or the class where it has no other name. */
export function commonName(scheduler: string, options: SchedulerOptions = {}): string {
  const respacing = respacingOf(options);
  const words = [NAMES[scheduler] ?? scheduler, options.algorithm_type === SDE && 'SDE', respacing && respacing[0].toUpperCase() + respacing.slice(1)];
  return words.filter(Boolean).join(' ');
}

/** The class and options that such a name stands for, or a class's own; undefined for what is none here. */
export function fromCommonName(name: string): { scheduler: string; schedulerOptions: SchedulerOptions } | undefined {
  const [, plain, sde, respacing] = /^(.+?)( SDE)?(?: (Karras|Exponential|Beta))?$/i.exec(name) ?? [];
  const scheduler = Object.keys(NAMES).find(each => each === plain || NAMES[each].toLowerCase() === plain?.toLowerCase());
  if (!scheduler) return undefined;
  const schedulerOptions: SchedulerOptions = { ...sde && { algorithm_type: SDE } };
  if (respacing) schedulerOptions[RESPACINGS[respacing.toLowerCase() as Respacing]] = true;
  return { scheduler, schedulerOptions };
}
