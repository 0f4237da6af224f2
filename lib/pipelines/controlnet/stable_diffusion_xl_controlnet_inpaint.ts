import { checkOptionNames } from '../../core/checks.js';
import { Control, CONTROL_OPTIONS, type ControlOptions } from './control.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { startingPictures } from '../inputs/image_input.js';
import type { ControlNetInpaintOptions } from './stable_diffusion_controlnet_inpaint.js';
import { StableDiffusionXLControlNetPipeline } from './stable_diffusion_xl_controlnet.js';
import { paintAlongXL, XL_INPAINT_OPTIONS, type XLInpaintOptions } from '../stable_diffusion_xl/stable_diffusion_xl_inpaint.js';

/** Options of `generate`: those of inpainting, but the size is the picture's by default, and pictures to steer by. */
export interface XLControlNetInpaintOptions<T extends OutputType = 'image'>
  extends XLInpaintOptions<T>, ControlOptions, Pick<ControlNetInpaintOptions, 'controlImage'> {}

const XL_CONTROLNET_INPAINT_OPTIONS = [...XL_INPAINT_OPTIONS, ...CONTROL_OPTIONS, 'controlImage'];

/**
 * Inpainting by Stable Diffusion XL, steered by another picture through a ControlNet.
 * Equals diffusers' StableDiffusionXLControlNetInpaintPipeline without watermark.
 */
export class StableDiffusionXLControlNetInpaintPipeline extends StableDiffusionXLControlNetPipeline {
  /** Makes images of a picture, a mask, prompts and pictures to steer by. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLControlNetInpaintOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, XL_CONTROLNET_INPAINT_OPTIONS);
    const { controlImage, ...rest } = options;
    const [others, control] = Control.from(this, 'controlImage', controlImage, rest);
    const { height, width } = startingPictures(this.vae, rest.image);
    return paintAlongXL(this, prompt, { height, width, ...others as XLInpaintOptions<T> }, (request, start, crop) =>
      this.run(request, start, crop ? control.cropped(crop) : control));
  }
}
