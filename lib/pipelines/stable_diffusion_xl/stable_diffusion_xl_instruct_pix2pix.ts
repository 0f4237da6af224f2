import { checkOptionNames } from '../../core/checks.js';
import { checkXLOptions } from './check_xl_options.js';
import { editingStableDiffusionXL, type XLInstructPix2PixComponents } from '../components/components.js';
import { timestepsUntil } from './denoising_range.js';
import { editChannels, editGuides, editOptions, prepareEdit, type Edit } from '../stable_diffusion/edit.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { fittingPictures } from '../inputs/image_input.js';
import type { PerturbedAttentionOptions } from '../inputs/perturbed_attention.js';
import { StableDiffusionXLPipeline } from './stable_diffusion_xl.js';
import { XL_OPTIONS, type XLOptions } from './xl_options.js';

/**
 * Options of `generate`: those of text to image, and a picture, which is scaled to `height` and `width`. `numInferenceSteps` is 100 by
 * default.
 */
export interface XLInstructPix2PixOptions<T extends OutputType = 'image'>
  extends Omit<XLOptions<T>, keyof PerturbedAttentionOptions>, Edit {}

const OPTIONS = editOptions(XL_OPTIONS);

/**
 * Changes a picture as a text says, by Stable Diffusion XL.
 * Equals diffusers' StableDiffusionXLInstructPix2PixPipeline without watermark.
 */
export class StableDiffusionXLInstructPix2PixPipeline extends StableDiffusionXLPipeline implements XLInstructPix2PixComponents {
  static override readonly family = editingStableDiffusionXL;
  isCosxlEdit: boolean;

  constructor({ isCosxlEdit = false, ...components }: XLInstructPix2PixComponents) {
    super(components);
    this.isCosxlEdit = isCosxlEdit;
  }

  override get defaults(): StableDiffusionXLPipeline['defaults'] {
    return { numInferenceSteps: 100, guidanceScale: 5 };
  }

  override get components(): XLInstructPix2PixComponents {
    return { ...super.components, isCosxlEdit: this.isCosxlEdit };
  }

  /** Makes images of a picture and of what to change in it. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLInstructPix2PixOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, OPTIONS);
    const { image, imageGuidanceScale, ...others } = options;
    const expected = { unetChannels: editChannels(this.vae), guides: editGuides(imageGuidanceScale) };
    const checked = checkXLOptions(this, prompt, others, expected);
    const pictures = fittingPictures(this.vae, image, checked.latentShape);
    const latentScale = this.isCosxlEdit ? this.vae.config.scaling_factor : 1;
    const [request, start] = prepareEdit(checked, pictures, imageGuidanceScale, latentScale);
    return this.run<T>(request, scheduler => {
      const begun = start(scheduler);
      return { ...begun, ...timestepsUntil(scheduler, begun.timesteps, request.denoisingEnd) };
    });
  }
}
