import { checkOptionNames } from '../../core/checks.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import { checkXLOptions, type XLGenerating } from './check_xl_options.js';
import { timestepsFrom, timestepsUntil } from './denoising_range.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { checkStrength, lastTimesteps } from '../inputs/image_input.js';
import { inpaint, PAINTING_OPTIONS, paintingChannels, type Paint, type Painter, type Painting } from '../inputs/inpainting.js';
import { StableDiffusionXLPipeline } from './stable_diffusion_xl.js';
import { XL_IMAGE_OPTIONS, type XLImageOptions, type XLOptions, type XLRequest } from './xl_options.js';

/**
 * Options of `generate`: those of the text-to-image pipeline, and a picture with the part of it that is to be made anew. `strength` is
 * 0.9999 by default, `guidanceScale` 7.5.
 */
export interface XLInpaintOptions<T extends OutputType = 'image'> extends XLOptions<T>, XLImageOptions, Painting {}

export const XL_INPAINT_OPTIONS = [...XL_IMAGE_OPTIONS, ...PAINTING_OPTIONS];

/**
 * Inpainting by Stable Diffusion XL, with a UNet of 9 channels, which was trained for it, or any other.
 * Equals diffusers' StableDiffusionXLInpaintPipeline without watermark.
 */
export class StableDiffusionXLInpaintPipeline extends StableDiffusionXLPipeline {
  override get defaults(): StableDiffusionXLPipeline['defaults'] {
    return { numInferenceSteps: 50, guidanceScale: 7.5 };
  }

  /** Makes images of a picture, a mask and prompts. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLInpaintOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, XL_INPAINT_OPTIONS);
    return paintAlongXL(this, prompt, options, (request, start) => this.run(request, start));
  }
}

/** Paints along a prompt by `paint`. @throws as `generate` does. */
export async function paintAlongXL<T extends OutputType>(
  pipe: XLGenerating & Painter, prompt: string | string[] | undefined, options: XLInpaintOptions<T>, paint: Paint<XLRequest>,
): Promise<GenerateOutput<T>> {
  const { image, maskImage, strength = 0.9999, paddingMaskCrop, maskedImageLatents, ...others } = options;
  const checked = checkXLOptions(pipe, prompt, others, { fromImage: true, unetChannels: paintingChannels(pipe) });
  const { numInferenceSteps, denoisingStart, denoisingEnd } = checked;
  const request = denoisingStart === undefined ? { ...checked, strength } : checked;
  const left = denoisingStart === undefined ? checkStrength(strength, numInferenceSteps) : numInferenceSteps;
  const timesteps = (scheduler: Scheduler) => {
    const begun = denoisingStart === undefined
      ? lastTimesteps(scheduler, numInferenceSteps, left) : timestepsFrom(scheduler, denoisingStart);
    return timestepsUntil(scheduler, begun, denoisingEnd);
  };
  const painting = { image, maskImage, strength, paddingMaskCrop, maskedImageLatents };
  return inpaint(pipe, request, painting, { timesteps, addsNoise: denoisingStart === undefined }, paint);
}
