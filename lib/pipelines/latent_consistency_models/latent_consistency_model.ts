import { checkOptionNames } from '../../core/checks.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import { LCMScheduler } from '../../schedulers/lcm.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import { checkUNetOptions } from '../inputs/check_unet_options.js';
import { OPTIONS, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType } from '../inputs/generate_options.js';
import { prepareLatents } from '../base/guided_pipeline.js';
import { StableDiffusionPipeline } from '../stable_diffusion/stable_diffusion.js';

/** What a model that knows the guidance does not need, or its scheduler does not take. */
const MISSING = ['negativePrompt', 'negativePromptEmbeds', 'guidanceStop', 'guidanceRescale', 'sigmas', 'eta'] as const;

/** Options of `generate`: those of StableDiffusionPipeline as far as they apply; 4 steps and a `guidanceScale` of 8.5 by default. */
export interface LatentConsistencyModelOptions<T extends OutputType = 'image'> extends Omit<GenerateOptions<T>, typeof MISSING[number]> {
  /** The number of steps that the model was distilled for, of which some are taken; by default that of the scheduler's config. */
  originalInferenceSteps?: number;
}

export const LCM_OPTIONS: readonly string[] = [
  ...OPTIONS.filter(option => !(MISSING as readonly string[]).includes(option)), 'originalInferenceSteps',
];

/**
 * Text to image in a few steps, by a model that was distilled with its guidance (arXiv:2310.04378): its UNet has a time_cond_proj_dim.
 * Equals diffusers' LatentConsistencyModelPipeline.
 */
export class LatentConsistencyModelPipeline extends StableDiffusionPipeline {
  protected override readonly endsWithOriginal = true;

  /** Makes images of prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt?: string | string[], options: LatentConsistencyModelOptions<T> = {},
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, LCM_OPTIONS);
    const { originalInferenceSteps, ...others } = options;
    const request: GenerateRequest = { ...this.checkDistilled(prompt, others), timestepsOptions: { originalInferenceSteps } };
    return this.run(request, scheduler => ({ latents: prepareLatents(request, scheduler), timesteps: scheduler.timesteps }));
  }

  override get defaults(): StableDiffusionPipeline['defaults'] {
    return { numInferenceSteps: 4, guidanceScale: 8.5 };
  }

  protected checkDistilled(prompt: string | string[] | undefined, options: GenerateOptions<OutputType>): GenerateRequest {
    const { scheduler, unet } = this;
    if (!(scheduler instanceof LCMScheduler)) {
      const { className } = scheduler.constructor as typeof Scheduler;
      throw new RangeError(`scheduler: got ${className}, takes LCMScheduler; StableDiffusionPipeline takes others`);
    }
    if (!unet.takesGuidance) {
      throw new RangeError('unet: time_cond_proj_dim: got null, takes a model distilled with guidance; ' +
        'StableDiffusionPipeline runs others, with a LoRA for LCMScheduler too');
    }
    return checkUNetOptions(this, prompt, options);
  }

  /** Leaves configs as they are. */
  protected override correctConfigs(): void { /* as diffusers */ }

  override get defaultSampleSize(): UNet2DConditionConfig['sample_size'] {
    return this.unet.config.sample_size;
  }
}
