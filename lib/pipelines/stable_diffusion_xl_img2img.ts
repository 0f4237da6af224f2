import * as tf from '@tensorflow/tfjs';
import { checkOptionNames } from '../core/checks.js';
import { checkXLOptions } from './check_xl_options.js';
import { timestepsFrom, timestepsUntil } from './denoising_range.js';
import { img2ImgOptions, type GenerateOutput, type OutputType } from './generate_options.js';
import { checkStrength, checkTurns, inTurn, lastTimesteps, startFromPictures, startingPictures } from './image_input.js';
import type { Img2ImgOptions } from './stable_diffusion_img2img.js';
import { StableDiffusionXLPipeline } from './stable_diffusion_xl.js';
import { XL_IMAGE_OPTIONS, type XLImageOptions, type XLOptions } from './xl_options.js';

/**
 * Options of `generate`: those of text to image, but the size is the picture's, and the noise comes on top of it. `strength` is 0.3 by
 * default.
 */
export interface XLImg2ImgOptions<T extends OutputType = 'image'>
  extends Omit<XLOptions<T>, 'height' | 'width' | 'latents'>, XLImageOptions, Pick<Img2ImgOptions, 'image' | 'strength'> {}

const OPTIONS = img2ImgOptions(XL_IMAGE_OPTIONS);

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
    checkOptionNames('generate', options, OPTIONS);
    const { image, strength = 0.3, ...others } = options;
    const pictures = startingPictures(this.vae, image);
    const { count, height, width } = pictures;
    const request = checkXLOptions(this, prompt, { ...others, height, width }, { fromImage: true });
    const { numInferenceSteps, latentShape: [images], generator, denoisingStart, denoisingEnd } = request;
    checkTurns('image', count, images);
    if (denoisingStart !== undefined) {
      return this.run(request, scheduler => ({
        timesteps: timestepsUntil(scheduler, timestepsFrom(scheduler, denoisingStart), denoisingEnd),
        latents: tf.tidy(() => inTurn(pictures.latents(generator), images)),
      }));
    }
    const left = checkStrength(strength, numInferenceSteps);
    return this.run({ ...request, strength }, scheduler => {
      const { timesteps, ...start } = startFromPictures(pictures, request, scheduler, lastTimesteps(scheduler, numInferenceSteps, left));
      return { ...start, timesteps: timestepsUntil(scheduler, timesteps, denoisingEnd) };
    });
  }
}
