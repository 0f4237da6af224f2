import { checkOptionNames } from '../../core/checks.js';
import { Control, CONTROL_OPTIONS, type ControlOptions } from './control.js';
import type { ControlImages } from './picture_control.js';
import { img2ImgOptions, OPTIONS, type GenerateOutput, type OutputType } from '../inputs/generate_options.js';
import { StableDiffusionControlNetPipeline } from './stable_diffusion_controlnet.js';
import { prepareImg2Img, type Img2ImgOptions } from '../stable_diffusion/stable_diffusion_img2img.js';

/** Options of `generate`: those of image to image, and pictures to steer by. `controlnetConditioningScale` is 0.8 by default. */
export interface ControlNetImg2ImgOptions<T extends OutputType = 'image'> extends Img2ImgOptions<T>, ControlOptions {
  /** What to steer by, such as edges, depths or poses, scaled to the size of `image`. */
  controlImage: ControlImages;
}

const CONTROLNET_IMG2IMG_OPTIONS = [...img2ImgOptions(OPTIONS), ...CONTROL_OPTIONS, 'controlImage'];

/**
 * Image to image, steered by another picture through a ControlNet.
 * Equals diffusers' StableDiffusionControlNetImg2ImgPipeline.
 */
export class StableDiffusionControlNetImg2ImgPipeline extends StableDiffusionControlNetPipeline {
  /** Makes images of a picture, prompts and pictures to steer by. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: ControlNetImg2ImgOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, CONTROLNET_IMG2IMG_OPTIONS);
    const { controlImage, controlnetConditioningScale = 0.8, ...rest } = options;
    const [others, control] = Control.from(this, 'controlImage', controlImage, { ...rest, controlnetConditioningScale });
    return this.run<T>(...prepareImg2Img(this, prompt, others as Img2ImgOptions<T>), control);
  }
}
