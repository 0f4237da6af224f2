import { DDIMScheduler } from './ddim.js';
import { DDIMInverseScheduler } from './ddim_inverse.js';
import { DDIMParallelScheduler } from './ddim_parallel.js';
import { DDPMScheduler } from './ddpm.js';
import { DDPMParallelScheduler } from './ddpm_parallel.js';
import { DEISMultistepScheduler } from './deis_multistep.js';
import { DPMSolverMultistepScheduler } from './dpm_solver_multistep.js';
import { DPMSolverMultistepInverseScheduler } from './dpm_solver_multistep_inverse.js';
import { DPMSolverSinglestepScheduler } from './dpm_solver_singlestep.js';
import { EDMDPMSolverMultistepScheduler } from './edm_dpm_solver_multistep.js';
import { EDMEulerScheduler } from './edm_euler.js';
import { EulerAncestralDiscreteScheduler } from './euler_ancestral_discrete.js';
import { EulerDiscreteScheduler } from './euler_discrete.js';
import { FlowMatchEulerDiscreteScheduler } from './flow_match_euler_discrete.js';
import { HeunDiscreteScheduler } from './heun_discrete.js';
import { IPNDMScheduler } from './ipndm.js';
import { KDPM2AncestralDiscreteScheduler } from './k_dpm_2_ancestral_discrete.js';
import { KDPM2DiscreteScheduler } from './k_dpm_2_discrete.js';
import { LCMScheduler } from './lcm.js';
import { LMSDiscreteScheduler } from './lms_discrete.js';
import { PNDMScheduler } from './pndm.js';
import { SASolverScheduler } from './sasolver.js';
import { knownRules } from './scheduler_config.js';
import { TCDScheduler } from './tcd.js';
import { UniPCMultistepScheduler } from './unipc_multistep.js';

Object.assign(knownRules, {
  DDIMInverseScheduler, DDIMParallelScheduler, DDIMScheduler, DDPMParallelScheduler, DDPMScheduler, DEISMultistepScheduler,
  DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, EDMDPMSolverMultistepScheduler,
  EDMEulerScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, HeunDiscreteScheduler,
  IPNDMScheduler, KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler, LCMScheduler, LMSDiscreteScheduler, PNDMScheduler,
  SASolverScheduler, TCDScheduler, UniPCMultistepScheduler,
});

export { commonName, fromCommonName, type NamedOptions, type NamedScheduler } from './common_names.js';
export type { DDIMConfig } from './ddim.js';
export type { DDIMInverseConfig } from './ddim_inverse.js';
export type { DDPMConfig } from './ddpm.js';
export type { DEISMultistepConfig } from './deis_multistep.js';
export type { DistilledConfig } from './distilled_scheduler.js';
export type { DPMSolverMultistepConfig } from './dpm_solver_multistep.js';
export type { DPMSolverMultistepInverseConfig } from './dpm_solver_multistep_inverse.js';
export type { DPMSolverSinglestepConfig } from './dpm_solver_singlestep.js';
export type { EDMDPMSolverMultistepConfig } from './edm_dpm_solver_multistep.js';
export type { EDMConfig } from './edm_scheduler.js';
export type { EulerAncestralDiscreteConfig } from './euler_ancestral_discrete.js';
export type { EulerDiscreteConfig } from './euler_discrete.js';
export type { FlowMatchEulerDiscreteConfig } from './flow_match_euler_discrete.js';
export type { HeunDiscreteConfig } from './heun_discrete.js';
export type { IPNDMConfig } from './ipndm.js';
export type { PNDMConfig } from './pndm.js';
export type { SASolverConfig } from './sasolver.js';
export type { SigmaSchedulerConfig } from './sigma_scheduler.js';
export type { UniPCMultistepConfig } from './unipc_multistep.js';
export { schedulerClass, schedulerClasses } from './registry.js';
export { Scheduler, type SchedulerClass } from './scheduler.js';
export type { Steps, TimestepsOptions } from './steps.js';
export type { PredictionType, SchedulerConfig, StepOptions, StepOutput } from './types.js';
export {
  DDIMInverseScheduler, DDIMParallelScheduler, DDIMScheduler, DDPMParallelScheduler, DDPMScheduler, DEISMultistepScheduler,
  DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, EDMDPMSolverMultistepScheduler,
  EDMEulerScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, HeunDiscreteScheduler,
  IPNDMScheduler, KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler, LCMScheduler, LMSDiscreteScheduler, PNDMScheduler,
  SASolverScheduler, TCDScheduler, UniPCMultistepScheduler,
};
