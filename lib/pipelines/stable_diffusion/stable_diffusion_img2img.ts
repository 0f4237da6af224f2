import { checkOptionNames } from '../../core/checks.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import { checkUNetOptions, type UNetGenerating } from '../inputs/check_unet_options.js';
import type { DenoisingStart } from '../run/denoise.js';
import {
  img2ImgOptions, OPTIONS, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType,
} from '../inputs/generate_options.js';
import { checkStrength, checkTurns, lastTimesteps, startFromPictures, startingPictures, type ImageInput } from '../inputs/image_input.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';

/** Options of `generate`: those of the text-to-image pipeline, but the size is the picture's, and the noise comes on top of it. */
export interface Img2ImgOptions<T extends OutputType = 'image'> extends Omit<GenerateOptions<T>, 'height' | 'width' | 'latents'> {
  /**
   * The pictures to begin from; their size is rounded down to a multiple of vaeScaleFactor. Pictures that are fewer than
   * those to make are taken in turn. They can also be latents, scaled as the UNet takes them: a tensor
   * `[images, height, width, latent_channels]`.
   */
  image: ImageInput;
  /**
   * How much of the picture to give up, from 0 to 1 (all of it); that share of the steps is taken. 0.8 by default; for
   * StableDiffusionXLImg2ImgPipeline 0.3.
   */
  strength?: number;
}

const IMG2IMG_OPTIONS = img2ImgOptions(OPTIONS);

/**
 * Image to image: denoises a picture that noise was added to, along a prompt (SDEdit, arXiv:2108.01073).
 * Equals diffusers' StableDiffusionImg2ImgPipeline.
 */
export class StableDiffusionImg2ImgPipeline extends StableDiffusionPipeline {
  /** Makes images of a picture and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: Img2ImgOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, IMG2IMG_OPTIONS);
    return this.run(...prepareImg2Img(this, prompt, options));
  }
}

/** What to make from pictures on, and where denoising starts. @param channels how many the UNet may take. @throws as `generate` does. */
export function prepareImg2Img(
  pipe: UNetGenerating, prompt: string | string[] | undefined, options: Img2ImgOptions<OutputType>, channels?: readonly number[],
): [GenerateRequest, (scheduler: Scheduler) => DenoisingStart] {
  const { image, strength = 0.8, ...others } = options;
  const pictures = startingPictures(pipe.vae, image);
  const { count, height, width } = pictures;
  const request = { ...checkUNetOptions(pipe, prompt, { ...others, height, width }, { channels }), strength };
  const { numInferenceSteps, latentShape } = request;
  const left = checkStrength(strength, numInferenceSteps);
  checkTurns('image', count, latentShape[0]);
  return [request, scheduler => startFromPictures(pictures, request, scheduler, lastTimesteps(scheduler, numInferenceSteps, left))];
}
