import { checkOptionNames } from '../../core/checks.js';
import { img2ImgOptions, type GenerateOutput, type OutputType } from '../inputs/generate_options.js';
import { checkStrength, checkTurns, startFromPictures, startingPictures } from '../inputs/image_input.js';
import { LatentConsistencyModelPipeline, LCM_OPTIONS, type LatentConsistencyModelOptions } from './latent_consistency_model.js';
import type { Img2ImgOptions } from '../stable_diffusion/stable_diffusion_img2img.js';

/** Options of `generate`: those of LatentConsistencyModelPipeline, with the picture's size, and the noise on top of it. */
export type LatentConsistencyModelImg2ImgOptions<T extends OutputType = 'image'> =
  Omit<LatentConsistencyModelOptions<T>, 'height' | 'width' | 'latents'> & Pick<Img2ImgOptions<T>, 'image' | 'strength'>;

const OPTIONS = img2ImgOptions(LCM_OPTIONS);

/**
 * Image to image by a latent consistency model: `numInferenceSteps` of the last `strength` of the steps that it was distilled for.
 * Equals diffusers' LatentConsistencyModelImg2ImgPipeline.
 */
export class LatentConsistencyModelImg2ImgPipeline extends LatentConsistencyModelPipeline {
  /** Makes images of a picture and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: LatentConsistencyModelImg2ImgOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, OPTIONS);
    const { image, strength = 0.8, originalInferenceSteps, ...others } = options;
    const pictures = startingPictures(this.vae, image);
    const { count, height, width } = pictures;
    const request = this.checkDistilled(prompt, { ...others, height, width });
    const { numInferenceSteps, latentShape } = request;
    checkStrength(strength, others.timesteps ? numInferenceSteps : Infinity); // a number of steps is taken whatever the strength
    checkTurns('image', count, latentShape[0]);

    return this.run({ ...request, strength, timestepsOptions: { originalInferenceSteps, strength } }, scheduler => (
      startFromPictures(pictures, request, scheduler, scheduler.timesteps)
    ));
  }
}
