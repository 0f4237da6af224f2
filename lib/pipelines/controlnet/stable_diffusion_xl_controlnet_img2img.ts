import { checkOptionNames } from '../../core/checks.js';
import { Control, CONTROL_OPTIONS, type ControlOptions } from './control.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import type { ControlNetImg2ImgOptions } from './stable_diffusion_controlnet_img2img.js';
import { StableDiffusionXLControlNetPipeline } from './stable_diffusion_xl_controlnet.js';
import { prepareXLImg2Img, XL_IMG2IMG_OPTIONS, type XLImg2ImgOptions } from '../stable_diffusion_xl/stable_diffusion_xl_img2img.js';

/**
 * Options of `generate`: those of image to image, and pictures to steer by. Both `strength` and `controlnetConditioningScale` are 0.8 by
 * default.
 */
export interface XLControlNetImg2ImgOptions<T extends OutputType = 'image'>
  extends Omit<XLImg2ImgOptions<T>, 'denoisingStart' | 'denoisingEnd'>, ControlOptions, Pick<ControlNetImg2ImgOptions, 'controlImage'> {}

const OPTIONS = [
  ...XL_IMG2IMG_OPTIONS.filter(option => !['denoisingStart', 'denoisingEnd'].includes(option)), ...CONTROL_OPTIONS, 'controlImage',
];

/**
 * Image to image by Stable Diffusion XL, steered by another picture through a ControlNet.
 * Equals diffusers' StableDiffusionXLControlNetImg2ImgPipeline without watermark.
 */
export class StableDiffusionXLControlNetImg2ImgPipeline extends StableDiffusionXLControlNetPipeline {
  /** Makes images of a picture, prompts and pictures to steer by. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLControlNetImg2ImgOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, OPTIONS);
    const { controlImage, controlnetConditioningScale = 0.8, strength = 0.8, ...rest } = options;
    const [others, control] = Control.from(this, 'controlImage', controlImage, { ...rest, controlnetConditioningScale });
    return this.run<T>(...prepareXLImg2Img(this, prompt, { ...others as XLImg2ImgOptions<T>, strength }), control);
  }
}
