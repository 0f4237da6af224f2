import { DDIMScheduler } from './ddim.js';
import { DPMSolverMultistepScheduler } from './dpm_solver_multistep.js';
import { EulerAncestralDiscreteScheduler } from './euler_ancestral_discrete.js';
import { EulerDiscreteScheduler } from './euler_discrete.js';
import { PNDMScheduler } from './pndm.js';
import { schedulerClasses } from './registry.js';

Object.assign(schedulerClasses, {
  DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, PNDMScheduler,
});

export { schedulerClass, schedulerClasses, type SchedulerClass } from './registry.js';
export { Scheduler } from './scheduler.js';
export type { PredictionType, SchedulerConfig, StepOptions, StepOutput, Steps, StepsOptions } from './types.js';
export { DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, PNDMScheduler };
