import { schedulerClass, type NamedOptions, type SchedulerClass } from '../schedulers/index.js';
import { AutoPipelineForImage2Image, AutoPipelineForInpainting } from './auto_pipeline.js';
import type { GuidedPipeline } from './base/guided_pipeline.js';
import { UNetPipeline } from './base/unet_pipeline.js';
import { paintingChannels } from './inputs/inpainting.js';
import { StableDiffusion3Pipeline } from './stable_diffusion_3/stable_diffusion_3.js';

/** What pictures are made of: a prompt alone, a picture too, or a part of one. */
export type Task = 'text' | 'image' | 'mask';

const SCHEDULER_OPTIONS = ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas', 'algorithm_type', 'timestep_spacing'] as const;

/** A scheduler's class, and which of the usual options it takes. */
export interface SchedulerInfo {
  name: string;
  takes: Array<Exclude<keyof NamedOptions, 'solver_type' | 'solver_order'>>;
}

/** What a program that offers a model to users has to know of it. */
export interface ModelDescription {
  /** How many numbers its networks hold. */
  numParameters: number;
  /** Width of the pictures that it was trained on, in pixels. */
  width: number;
  /** Their height. */
  height: number;
  /** Width and height must be multiples of it, in pixels. */
  sideFactor: number;
  /** How many denoising steps it takes by default. */
  numInferenceSteps: number;
  /** How closely it follows the prompt by default. */
  guidanceScale: number;
  /** Whether it takes a negative prompt. */
  takesNegativePrompt: boolean;
  /** Whether it can be guided by perturbed attention. */
  takesPerturbedAttention: boolean;
  /** Whether pictures of a prompt alone can be guided away from what it says without some layers. */
  takesSkippedLayers: boolean;
  /** What it can do. */
  tasks: Task[];
  /** The schedulers that it takes, its own first. */
  schedulers: SchedulerInfo[];
}

/** Describes a loaded model. Nothing is computed. */
export function describeModel(pipe: GuidedPipeline): ModelDescription {
  const { scheduler, defaultSampleSize, vaeScaleFactor, sideFactor, numParameters, defaults, takesNegativePrompt } = pipe;
  const own = (scheduler.constructor as unknown as SchedulerClass).className;
  const [height = 64, width = height] = [defaultSampleSize ?? 64].flat();
  const names = [...new Set([own, ...scheduler.compatibles.map(({ className }) => className)])];
  const { vae: { config: { latent_channels: channels } }, denoiser: { config: { in_channels: seen } } } = pipe;
  const tasks: Array<[Task, boolean]> = [ // others see more behind the latents: a mask and what is around it, or what no task has
    ['text', seen === channels], ['image', seen === channels && AutoPipelineForImage2Image.supports(pipe)],
    ['mask', paintingChannels(pipe).includes(seen) && AutoPipelineForInpainting.supports(pipe)],
  ];
  return {
    numParameters, width: width * vaeScaleFactor, height: height * vaeScaleFactor, sideFactor,
    numInferenceSteps: defaults.numInferenceSteps, guidanceScale: defaults.guidanceScale, takesNegativePrompt,
    takesPerturbedAttention: pipe instanceof UNetPipeline, takesSkippedLayers: pipe instanceof StableDiffusion3Pipeline,
    tasks: tasks.flatMap(([task, does]) => does ? [task] : []),
    schedulers: names.map(name => ({ name, takes: SCHEDULER_OPTIONS.filter(option => option in schedulerClass(name).defaults) })),
  };
}
