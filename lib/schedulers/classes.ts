/** Every scheduler class, with its config: a new one is named here, and nowhere else. */

export { DDIMInverseScheduler, type DDIMInverseConfig } from './ddim_inverse.js';
export { DDIMParallelScheduler } from './ddim_parallel.js';
export { DDIMScheduler, type DDIMConfig } from './ddim.js';
export { DDPMParallelScheduler } from './ddpm_parallel.js';
export { DDPMScheduler, type DDPMConfig } from './ddpm.js';
export { DEISMultistepScheduler, type DEISMultistepConfig } from './deis_multistep.js';
export { DPMSolverMultistepInverseScheduler, type DPMSolverMultistepInverseConfig } from './dpm_solver_multistep_inverse.js';
export { DPMSolverMultistepScheduler, type DPMSolverMultistepConfig } from './dpm_solver_multistep.js';
export { DPMSolverSinglestepScheduler, type DPMSolverSinglestepConfig } from './dpm_solver_singlestep.js';
export { EDMDPMSolverMultistepScheduler, type EDMDPMSolverMultistepConfig } from './edm_dpm_solver_multistep.js';
export { EDMEulerScheduler } from './edm_euler.js';
export { EulerAncestralDiscreteScheduler, type EulerAncestralDiscreteConfig } from './euler_ancestral_discrete.js';
export { EulerDiscreteScheduler, type EulerDiscreteConfig } from './euler_discrete.js';
export { FlowMatchEulerDiscreteScheduler, type FlowMatchEulerDiscreteConfig } from './flow_match_euler_discrete.js';
export { HeunDiscreteScheduler, type HeunDiscreteConfig } from './heun_discrete.js';
export { IPNDMScheduler, type IPNDMConfig } from './ipndm.js';
export { KDPM2AncestralDiscreteScheduler } from './k_dpm_2_ancestral_discrete.js';
export { KDPM2DiscreteScheduler } from './k_dpm_2_discrete.js';
export { LCMScheduler } from './lcm.js';
export { LMSDiscreteScheduler } from './lms_discrete.js';
export { PNDMScheduler, type PNDMConfig } from './pndm.js';
export { SASolverScheduler, type SASolverConfig } from './sasolver.js';
export { TCDScheduler } from './tcd.js';
export { UniPCMultistepScheduler, type UniPCMultistepConfig } from './unipc_multistep.js';
