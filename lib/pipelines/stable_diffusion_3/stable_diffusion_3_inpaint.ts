import { checkOptionNames } from '../../core/checks.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { inpaint, PAINTING_OPTIONS, paintingChannels, type Painting, type PaintingSteps } from '../inputs/inpainting.js';
import { checkSD3Options } from './check_sd3_options.js';
import { SD3_OPTIONS, type SD3Options } from './sd3_options.js';
import { StableDiffusion3Pipeline } from './stable_diffusion_3.js';
import { timestepsByStrength } from './stable_diffusion_3_img2img.js';

/**
 * Options of `generate`: those of text to image without skipped layers, and a picture with the part of it that is to be made anew.
 * `strength` is 0.6 by default, `numInferenceSteps` 50.
 */
export interface SD3InpaintOptions<T extends OutputType = 'image'> extends SD3Options<T>, Painting {}

const SD3_INPAINT_OPTIONS = [...SD3_OPTIONS, ...PAINTING_OPTIONS];

/**
 * Inpainting by Stable Diffusion 3, with a transformer of 33 channels, which was trained for it, or any other.
 * Equals diffusers' StableDiffusion3InpaintPipeline, but for its pictures' colours: that one forgets the VAE's shift_factor.
 */
export class StableDiffusion3InpaintPipeline extends StableDiffusion3Pipeline {
  override get defaults(): StableDiffusion3Pipeline['defaults'] {
    return { numInferenceSteps: 50, guidanceScale: 7 };
  }

  /** Makes images of a picture, a mask and prompts. Throws as StableDiffusion3Pipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: SD3InpaintOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, SD3_INPAINT_OPTIONS);
    const { image, maskImage, strength = 0.6, paddingMaskCrop, maskedImageLatents, ...others } = options;
    const request = { ...checkSD3Options(this, prompt, others, paintingChannels(this)), strength };
    const timestepsOf = timestepsByStrength(strength, request.numInferenceSteps);
    const painting = { image, maskImage, strength, paddingMaskCrop, maskedImageLatents };
    const steps: PaintingSteps = { timesteps: scheduler => ({ timesteps: timestepsOf(scheduler) }), normalizesMasked: true };
    return inpaint<T, typeof request>(this, request, painting, steps, (request, start) => this.run(request, start));
  }
}
