import { checkOptionNames } from '../../core/checks.js';
import type { MeantOptions } from '../components/correct_configs.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import { checkUNetOptions, type UNetGenerating } from '../inputs/check_unet_options.js';
import { OPTIONS, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType } from '../inputs/generate_options.js';
import { checkStrength, lastTimesteps } from '../inputs/image_input.js';
import { inpaint, PAINTING_OPTIONS, paintingChannels, type Paint, type Painter, type Painting } from '../inputs/inpainting.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';

/** Options of `generate`: those of the text-to-image pipeline, and a picture with the part of it that is to be made anew. */
export interface InpaintOptions<T extends OutputType = 'image'> extends GenerateOptions<T>, Painting {}

export const INPAINT_OPTIONS = [...OPTIONS, ...PAINTING_OPTIONS];

/**
 * Inpainting: makes a part of a picture anew, as a prompt says. It takes UNets that were trained for inpainting (they see the mask and the
 * rest of the picture in 5 more channels) and any other (the rest is put back after each step).
 * Equals diffusers' StableDiffusionInpaintPipeline.
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionPipeline {
  /** As diffusers, which looks at others here. */
  protected override get meantOptions(): MeantOptions {
    return { steps_offset: 1, skip_prk_steps: true };
  }

  /** Makes images of a picture, a mask and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: InpaintOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, INPAINT_OPTIONS);
    return paintAlong(this, prompt, options, (request, start) => this.run(request, start));
  }
}

/** Paints along a prompt by `paint`. @throws as `generate` does. */
export async function paintAlong<T extends OutputType>(
  pipe: UNetGenerating & Painter, prompt: string | string[] | undefined, options: InpaintOptions<T>, paint: Paint<GenerateRequest>,
): Promise<GenerateOutput<T>> {
  const { image, maskImage, strength = 1, paddingMaskCrop, maskedImageLatents, ...others } = options;
  const request = { ...checkUNetOptions(pipe, prompt, others, { channels: paintingChannels(pipe) }), strength };
  const left = checkStrength(strength, request.numInferenceSteps);
  const steps = { timesteps: (scheduler: Scheduler) => ({ timesteps: lastTimesteps(scheduler, request.numInferenceSteps, left) }) };
  return inpaint(pipe, request, { image, maskImage, strength, paddingMaskCrop, maskedImageLatents }, steps, paint);
}
