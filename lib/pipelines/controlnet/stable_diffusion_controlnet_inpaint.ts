import { checkOptionNames } from '../../core/checks.js';
import { Control, CONTROL_OPTIONS, type ControlOptions } from './control.js';
import type { ControlImages } from './picture_control.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { startingPictures } from '../inputs/image_input.js';
import { StableDiffusionControlNetPipeline } from './stable_diffusion_controlnet.js';
import { INPAINT_OPTIONS, paintAlong, type InpaintOptions } from '../stable_diffusion/stable_diffusion_inpaint.js';

/**
 * Options of `generate`: those of inpainting, but the size is the picture's by default, and pictures to steer by.
 * `controlnetConditioningScale` is 0.5 by default.
 */
export interface ControlNetInpaintOptions<T extends OutputType = 'image'> extends InpaintOptions<T>, ControlOptions {
  /** What to steer by, such as edges, depths or poses, scaled to the size that is made; with `paddingMaskCrop` as large as `image`. */
  controlImage: ControlImages;
}

const CONTROLNET_INPAINT_OPTIONS = [...INPAINT_OPTIONS, ...CONTROL_OPTIONS, 'controlImage'];

/**
 * Inpainting, steered by another picture through a ControlNet.
 * Equals diffusers' StableDiffusionControlNetInpaintPipeline.
 */
export class StableDiffusionControlNetInpaintPipeline extends StableDiffusionControlNetPipeline {
  /** Makes images of a picture, a mask, prompts and pictures to steer by. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: ControlNetInpaintOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, CONTROLNET_INPAINT_OPTIONS);
    const { controlImage, controlnetConditioningScale = 0.5, ...rest } = options;
    const [others, control] = Control.from(this, 'controlImage', controlImage, { ...rest, controlnetConditioningScale });
    const { height, width } = startingPictures(this.vae, rest.image);
    return paintAlong(this, prompt, { height, width, ...others as InpaintOptions<T> }, (request, start, crop) =>
      this.run(request, start, crop ? control.cropped(crop) : control));
  }
}
