import * as tf from '@tensorflow/tfjs';
import { randn } from '../core/random.js';
import { checkGenerateOptions, checkOptionNames, OPTIONS } from './check_generate_options.js';
import type { GenerateOptions, GenerateOutput, OutputType } from './generate_options.js';
import {
  checkImages, checkStrength, checkTurns, drawLatents, inTurn, lastTimesteps, resizeNearest, toMask, toPixels, type ImageInput,
} from './image_input.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';

/** Options of `generate`: those of the text-to-image pipeline, and a picture with the part of it that is to be made anew. */
export interface InpaintOptions<T extends OutputType = OutputType> extends GenerateOptions<T> {
  /** What to change, scaled to `height` and `width`. Fewer pictures than are to be made are taken in turn. */
  image: ImageInput;
  /** White where to change it, black where it stays; pictures, or a tensor `[masks, height, width, 1]` within [0, 1]. */
  maskImage: ImageInput;
  /** How much of what is under the mask to give up, from 0 to 1 (all of it, the default); so large a share of the steps is taken. */
  strength?: number;
}

const INPAINT_OPTIONS = [...OPTIONS, 'image', 'maskImage', 'strength'];

/**
 * Inpainting: makes a part of a picture anew, along a prompt. With a UNet that was trained for it (it sees the mask and the rest of the
 * picture in 5 more channels) as with any other (after each step, the rest is put back).
 * Equals diffusers' StableDiffusionInpaintPipeline without safety checker.
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionPipeline {
  /** Makes images of a picture, a mask and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: InpaintOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames(options, INPAINT_OPTIONS);
    const { image, maskImage, strength = 1, ...others } = options;
    const { count } = checkImages('image', image, [3]);
    const { count: masks } = checkImages('maskImage', maskImage, [1]);
    const { latent_channels: channels } = this.vae.config;
    const request = checkGenerateOptions(this, prompt, others, [channels, 2 * channels + 1]);
    const seesMask = this.unet.config.in_channels !== channels;
    const { numInferenceSteps, latentShape, latents, generator, dtype } = request;
    const [images, rows, columns] = latentShape;
    const left = checkStrength(strength, numInferenceSteps);
    checkTurns('image', count, images);
    checkTurns('maskImage', masks, images);

    return this.run({ ...request, strength }, scheduler => tf.tidy(() => {
      const { vae, vaeScaleFactor } = this;
      const generators = Array.isArray(generator) ? generator.slice(0, count) : generator;
      const draw = (picture: tf.Tensor) => inTurn(drawLatents(vae, picture, generators), images);
      const timesteps = lastTimesteps(scheduler, numInferenceSteps, left);
      const [height, width] = [rows * vaeScaleFactor, columns * vaeScaleFactor];
      const pixels = toPixels(image, height, width);
      const mask = toMask(maskImage, height, width);
      const latentMask = inTurn(resizeNearest(mask, rows, columns), images);

      const original = seesMask && strength === 1 ? undefined : draw(pixels);
      const noise = latents?.clone() ?? randn(latentShape, generator, dtype);
      const begin = strength === 1 || latents ? noise.mul(scheduler.initNoiseSigma) : scheduler.addNoise(original!, noise, timesteps[0]);
      if (seesMask) return { timesteps, latents: begin, condition: tf.concat([latentMask, draw(pixels.mul(tf.sub(1, mask)))], -1) };
      randn([count, ...latentShape.slice(1)], generators, vae.weightDtype); // what diffusers draws here for nothing: the noise of later steps comes after it
      return { timesteps, latents: begin, known: { original: original!, noise, mask: latentMask } };
    }));
  }
}
