import { checkOptionNames, show } from '../../core/checks.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { checkTurns, fittingPictures, lastTimesteps, startFromPictures, type ImageInput } from '../inputs/image_input.js';
import { checkSD3Options } from './check_sd3_options.js';
import { SD3_OPTIONS, type SD3Options } from './sd3_options.js';
import { StableDiffusion3Pipeline } from './stable_diffusion_3.js';

/** Options of `generate`: those of text to image without skipped layers, and a picture. `numInferenceSteps` is 50 by default. */
export interface SD3Img2ImgOptions<T extends OutputType = 'image'> extends Omit<SD3Options<T>, 'latents'> {
  /**
   * The pictures to begin from, scaled to `height` and `width`. If they are fewer than the pictures to make, they are taken in turn.
   * They can also be latents, scaled as the transformer takes them: a tensor `[images, height, width, latent_channels]`.
   */
  image: ImageInput;
  /** How much of the picture to give up, from 0 to 1 (all of it); that share of the steps is taken. 0.6 by default. */
  strength?: number;
}

const SD3_IMG2IMG_OPTIONS = [...SD3_OPTIONS.filter(option => option !== 'latents'), 'image', 'strength'];

/**
 * Image to image by Stable Diffusion 3: denoises a picture that noise was added to, along a prompt.
 * Equals diffusers' StableDiffusion3Img2ImgPipeline.
 */
export class StableDiffusion3Img2ImgPipeline extends StableDiffusion3Pipeline {
  override get defaults(): StableDiffusion3Pipeline['defaults'] {
    return { numInferenceSteps: 50, guidanceScale: 7 };
  }

  /** Makes images of a picture and prompts. Throws as StableDiffusion3Pipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: SD3Img2ImgOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, SD3_IMG2IMG_OPTIONS);
    const { image, strength = 0.6, ...others } = options;
    const request = { ...checkSD3Options(this, prompt, others), strength };
    const { latentShape } = request;
    const pictures = fittingPictures(this.vae, image, latentShape);
    checkTurns('image', pictures.count, latentShape[0]);
    const timesteps = timestepsByStrength(strength, request.numInferenceSteps);
    return this.run<T>(request, scheduler => startFromPictures(pictures, request, scheduler, timesteps(scheduler)));
  }
}

/**
 * The timesteps from a picture on. Equals get_timesteps of diffusers' pipelines of Stable Diffusion 3, which round to more steps where
 * those of its other generations round to fewer.
 * @throws RangeError unless `strength` is from 0 to 1 and leaves a step.
 */
export function timestepsByStrength(strength: number, steps: number): (scheduler: Scheduler) => number[] {
  if (!(strength >= 0 && strength <= 1)) throw new RangeError(`strength: got ${show(strength)}, takes a number from 0 to 1`);
  const left = steps - Math.trunc(Math.max(steps - Math.min(steps * strength, steps), 0));
  if (left < 1) throw new RangeError(`strength: got ${strength}, which leaves none of ${steps} steps, takes a number above 0`);
  return scheduler => lastTimesteps(scheduler, steps, left);
}
