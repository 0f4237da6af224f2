import { checkOptionNames } from '../../core/checks.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { SD3_OPTIONS, type SD3Options } from '../stable_diffusion_3/sd3_options.js';
import { SD3Control, SD3_CONTROL_OPTIONS, type SD3MaskedControlOptions } from './sd3_control.js';
import { StableDiffusion3ControlNetPipeline } from './stable_diffusion_3_controlnet.js';

/** Options of `generate`: those of text to image without skipped layers, and a picture with the part of it that is to be made anew. */
export interface SD3ControlNetInpaintingOptions<T extends OutputType = 'image'> extends SD3Options<T>, SD3MaskedControlOptions {}

const SD3_CONTROLNET_INPAINTING_OPTIONS = [...SD3_OPTIONS, ...SD3_CONTROL_OPTIONS, 'controlMask'];

/**
 * Inpainting by Stable Diffusion 3, through a ControlNet that sees the picture without the part that is to be made anew, as alimama's does.
 * All of the picture is made of noise: what stays is alike, not the same.
 * Equals diffusers' StableDiffusion3ControlNetInpaintingPipeline, but that the picture's latents are the most likely ones.
 */
export class StableDiffusion3ControlNetInpaintingPipeline extends StableDiffusion3ControlNetPipeline {
  /** Makes images of prompts, a picture and a mask. Throws as StableDiffusion3Pipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: SD3ControlNetInpaintingOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, SD3_CONTROLNET_INPAINTING_OPTIONS);
    const { controlMask, ...rest } = options;
    const [others, control] = SD3Control.from(this, rest, { controlMask });
    return this.generateFromNoise<T>(prompt, others as SD3Options<T>, control);
  }
}
