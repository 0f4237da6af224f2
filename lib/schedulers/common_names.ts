/** What schedulers are called elsewhere: samplers, and the schedules that they are combined with. This file loads no scheduler. */

/** Options of a scheduler that a name stands for, with the keys of its config. */
export interface NamedOptions {
  use_karras_sigmas?: boolean;
  use_exponential_sigmas?: boolean;
  use_beta_sigmas?: boolean;
  algorithm_type?: 'sde-dpmsolver++';
  solver_type?: 'heun';
  solver_order?: 3;
  timestep_spacing?: 'leading' | 'linspace' | 'trailing';
}

/** A scheduler's class, and options for its `fromConfig`. */
export interface NamedScheduler {
  /** The name of the class, as in `DPMSolverMultistepScheduler`. */
  scheduler: string;
  /** For its `fromConfig`. */
  schedulerOptions: NamedOptions;
}

/** A sampler: a class of schedulers, and how it solves. */
export interface Sampler {
  readonly name: string;
  readonly scheduler: string;
  readonly options?: NamedOptions;
  /** The schedule that AUTOMATIC1111's web UI takes where it is told none; else the steps are spread evenly. */
  readonly usual?: 'Karras' | 'Exponential';
}

/** The one `algorithm_type` that names tell: noise is added at each step. */
export const SDE = 'sde-dpmsolver++';

const [MULTISTEP, SINGLESTEP] = ['DPMSolverMultistepScheduler', 'DPMSolverSinglestepScheduler'];

/**
 * The samplers of AUTOMATIC1111's web UI that a scheduler here equals, in its order and by its names, then others that are called so by
 * many. The classes are those of diffusers' own table, https://huggingface.co/docs/diffusers/api/schedulers/overview; that solves DPM++ SDE
 * without noise, for it is older than the option.
 */
export const samplers: readonly Sampler[] = [
  { name: 'DPM++ 2M', scheduler: MULTISTEP, usual: 'Karras' },
  { name: 'DPM++ SDE', scheduler: SINGLESTEP, options: { algorithm_type: SDE }, usual: 'Karras' },
  { name: 'DPM++ 2M SDE', scheduler: MULTISTEP, options: { algorithm_type: SDE }, usual: 'Exponential' },
  { name: 'DPM++ 2M SDE Heun', scheduler: MULTISTEP, options: { algorithm_type: SDE, solver_type: 'heun' }, usual: 'Exponential' },
  { name: 'DPM++ 3M SDE', scheduler: MULTISTEP, options: { algorithm_type: SDE, solver_order: 3 }, usual: 'Exponential' },
  { name: 'Euler a', scheduler: 'EulerAncestralDiscreteScheduler' },
  { name: 'Euler', scheduler: 'EulerDiscreteScheduler' },
  { name: 'LMS', scheduler: 'LMSDiscreteScheduler' },
  { name: 'Heun', scheduler: 'HeunDiscreteScheduler' },
  { name: 'DPM2', scheduler: 'KDPM2DiscreteScheduler', usual: 'Karras' },
  { name: 'DPM2 a', scheduler: 'KDPM2AncestralDiscreteScheduler', usual: 'Karras' },
  { name: 'DDIM', scheduler: 'DDIMScheduler' },
  { name: 'PLMS', scheduler: 'PNDMScheduler' },
  { name: 'UniPC', scheduler: 'UniPCMultistepScheduler' },
  { name: 'LCM', scheduler: 'LCMScheduler' },
  { name: 'DDPM', scheduler: 'DDPMScheduler' },
  { name: 'DEIS', scheduler: 'DEISMultistepScheduler' },
  { name: 'DPM++ 2S', scheduler: SINGLESTEP },
  { name: 'SA-Solver', scheduler: 'SASolverScheduler' },
  { name: 'TCD', scheduler: 'TCDScheduler' },
];

/** How the steps lie, by the web UI's names. Those of one meaning come after the one that is written. */
export const schedules: Readonly<Record<string, NamedOptions>> = {
  'Uniform': { timestep_spacing: 'linspace' },
  'Karras': { use_karras_sigmas: true },
  'Exponential': { use_exponential_sigmas: true },
  'Polyexponential': { use_exponential_sigmas: true }, // of the degree 1, as the web UI has it
  'SGM Uniform': { timestep_spacing: 'trailing' },
  'Simple': { timestep_spacing: 'trailing' },
  'Normal': { timestep_spacing: 'linspace' },
  'DDIM': { timestep_spacing: 'leading' },
  'Beta': { use_beta_sigmas: true },
};

/** Which option spaces the steps by noise levels. */
export const RESPACINGS = { karras: 'use_karras_sigmas', exponential: 'use_exponential_sigmas', beta: 'use_beta_sigmas' } as const;
export type Respacing = keyof typeof RESPACINGS;

/** How options, or a whole config, space the steps by noise levels, if they do. */
export function respacingOf(options: object): Respacing | undefined {
  return (Object.keys(RESPACINGS) as Respacing[]).find(each => (options as NamedOptions)[RESPACINGS[each]]);
}

/** How DPM solvers solve where nothing is said. */
const SOLVER = { algorithm_type: 'dpmsolver++', solver_type: 'midpoint', solver_order: 2 };

/**
 * What a scheduler is called as a sampler, or its class where that has no other name.
 * @param options or a whole config: 'DPM++ 2M SDE' has the class of 'DPM++ 2M'.
 */
export function samplerName(scheduler: string, options: object = {}): string {
  const given: Record<string, unknown> = { ...SOLVER, ...options };
  const found = samplers.filter(each => each.scheduler === scheduler).find(each => {
    if (scheduler !== MULTISTEP && scheduler !== SINGLESTEP) return true;
    return Object.entries({ ...SOLVER, ...each.options }).every(([key, value]) => given[key] === value);
  });
  return found?.name ?? scheduler;
}

/**
 * What the schedule of a config is called; undefined of the usual one of a scheduler that cannot space noise levels, such as DDIM.
 * @param config a whole one.
 */
export function scheduleName(config: object): string | undefined {
  const { timestep_spacing: spacing = 'linspace' } = config as NamedOptions;
  const respacing = respacingOf(config);
  if (!(RESPACINGS.karras in config) && spacing !== 'trailing') return undefined;
  const [key, value] = respacing ? [RESPACINGS[respacing], true] as const : ['timestep_spacing', spacing] as const;
  return Object.keys(schedules).find(name => schedules[name][key] === value);
}

/** Sampler and noise levels, 'DPM++ 2M SDE Karras', or the class where it has no other name. */
export function commonName(scheduler: string, options: object = {}): string {
  const respacing = respacingOf(options);
  return [samplerName(scheduler, options), respacing && respacing[0].toUpperCase() + respacing.slice(1)].filter(Boolean).join(' ');
}

/**
 * The class and the options that a name stands for: a sampler's or a class, in any case of letters, with a schedule behind it or not, as in
 * 'DPM++ 2M SDE Karras'; undefined for what is none here.
 */
export function fromCommonName(name: string): NamedScheduler | undefined {
  const whole = findSampler(name);
  if (whole) return { scheduler: whole.scheduler, schedulerOptions: { ...whole.options } };
  const schedule = findSchedule(name, ' ');
  const plain = schedule && findSampler(name.slice(0, -schedule.length - 1));
  return plain ? { scheduler: plain.scheduler, schedulerOptions: { ...plain.options, ...schedules[schedule] } } : undefined;
}

/** The sampler of that name, in any case of letters, or the one that stands for that class. */
export function findSampler(name: string): Sampler | undefined {
  const lower = name.toLowerCase();
  return samplers.find(sampler => sampler.name.toLowerCase() === lower)
    ?? samplers.find(({ scheduler, options }) => scheduler === name && !options);
}

/** The schedule of that name, in any case of letters, or with `before` the one that a name ends with. */
export function findSchedule(name: string, before = ''): string | undefined {
  const lower = name.toLowerCase();
  const ends = (schedule: string) => before ? lower.endsWith(before + schedule.toLowerCase()) : lower === schedule.toLowerCase();
  return Object.keys(schedules).filter(ends).sort((a, b) => b.length - a.length).at(0);
}
