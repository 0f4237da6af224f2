import * as tf from '@tensorflow/tfjs';
import { checkOptionNames } from '../../core/checks.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import { checkXLOptions, type XLGenerating } from './check_xl_options.js';
import type { DenoisingStart } from '../run/denoise.js';
import { timestepsFrom, timestepsUntil } from './denoising_range.js';
import { img2ImgOptions, type GenerateOutput, type OutputType } from '../inputs/generate_options.js';
import { checkStrength, checkTurns, inTurn, lastTimesteps, startFromPictures, startingPictures } from '../inputs/image_input.js';
import type { Img2ImgOptions } from '../stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionXLPipeline } from './stable_diffusion_xl.js';
import { XL_IMAGE_OPTIONS, type XLImageOptions, type XLOptions, type XLRequest } from './xl_options.js';

/**
 * Options of `generate`: those of text to image, but the size is the picture's, and the noise comes on top of it. `strength` is 0.3 by
 * default.
 */
export interface XLImg2ImgOptions<T extends OutputType = 'image'>
  extends Omit<XLOptions<T>, 'height' | 'width' | 'latents'>, XLImageOptions, Pick<Img2ImgOptions, 'image' | 'strength'> {}

export const XL_IMG2IMG_OPTIONS = img2ImgOptions(XL_IMAGE_OPTIONS);

/**
 * Image to image by Stable Diffusion XL: adds noise to a picture and denoises it, or goes on with what another model began, as a refiner
 * does.
 * Equals diffusers' StableDiffusionXLImg2ImgPipeline without watermark.
 */
export class StableDiffusionXLImg2ImgPipeline extends StableDiffusionXLPipeline {
  /** Makes images of a picture and prompts. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLImg2ImgOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, XL_IMG2IMG_OPTIONS);
    return this.run<T>(...prepareXLImg2Img(this, prompt, options));
  }
}

/** What to make from pictures on, and where denoising starts. @throws as `generate` does. */
export function prepareXLImg2Img(
  pipe: XLGenerating, prompt: string | string[] | undefined, options: XLImg2ImgOptions<OutputType>,
): [XLRequest, (scheduler: Scheduler) => DenoisingStart] {
  const { image, strength = 0.3, ...others } = options;
  const pictures = startingPictures(pipe.vae, image);
  const { count, height, width } = pictures;
  const request = checkXLOptions(pipe, prompt, { ...others, height, width }, { fromImage: true });
  const { numInferenceSteps, latentShape: [images], generator, denoisingStart, denoisingEnd } = request;
  checkTurns('image', count, images);
  if (denoisingStart !== undefined) {
    return [request, scheduler => ({
      ...timestepsUntil(scheduler, timestepsFrom(scheduler, denoisingStart), denoisingEnd),
      latents: tf.tidy(() => inTurn(pictures.latents(generator), images)),
    })];
  }
  const left = checkStrength(strength, numInferenceSteps);
  return [{ ...request, strength }, scheduler => {
    const { timesteps, ...start } = startFromPictures(pictures, request, scheduler, lastTimesteps(scheduler, numInferenceSteps, left));
    return { ...start, ...timestepsUntil(scheduler, timesteps, denoisingEnd) };
  }];
}
