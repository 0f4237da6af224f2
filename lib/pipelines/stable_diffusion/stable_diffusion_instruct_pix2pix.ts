import { checkOptionNames } from '../../core/checks.js';
import { checkUNetOptions } from '../inputs/check_unet_options.js';
import { editChannels, editGuides, editOptions, prepareEdit, type Edit } from './edit.js';
import { OPTIONS, withoutSize, type GenerateOptions, type GenerateOutput, type OutputType } from '../inputs/generate_options.js';
import { startingPictures } from '../inputs/image_input.js';
import type { PerturbedAttentionOptions } from '../inputs/perturbed_attention.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';

/**
 * Options of `generate`: those of the text-to-image pipeline, but the size is the picture's, rounded down to a multiple of vaeScaleFactor.
 * `numInferenceSteps` is 100 by default.
 */
export interface InstructPix2PixOptions<T extends OutputType = 'image'>
  extends Omit<GenerateOptions<T>, 'height' | 'width' | keyof PerturbedAttentionOptions>, Edit {}

const INSTRUCT_PIX2PIX_OPTIONS = editOptions(withoutSize(OPTIONS));

/**
 * Changes a picture as a text says (InstructPix2Pix, arXiv:2211.09800): its UNet sees the picture's latents in further channels.
 * Equals diffusers' StableDiffusionInstructPix2PixPipeline.
 */
export class StableDiffusionInstructPix2PixPipeline extends StableDiffusionPipeline {
  /** Leaves configs as they are. */
  protected override correctConfigs(): void { /* as diffusers */ }

  override get defaults(): StableDiffusionPipeline['defaults'] {
    return { numInferenceSteps: 100, guidanceScale: 7.5 };
  }

  /** Makes images of a picture and of what to change in it. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: InstructPix2PixOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, INSTRUCT_PIX2PIX_OPTIONS);
    const { image, imageGuidanceScale, ...others } = options;
    const pictures = startingPictures(this.vae, image);
    const { height, width } = pictures;
    const expected = { channels: editChannels(this.vae), guides: editGuides(imageGuidanceScale) };
    const request = checkUNetOptions(this, prompt, { ...others, height, width }, expected);
    return this.run<T>(...prepareEdit(request, pictures, imageGuidanceScale));
  }
}
