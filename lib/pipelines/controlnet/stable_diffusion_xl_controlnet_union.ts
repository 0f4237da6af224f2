import { checkOptionNames } from '../../core/checks.js';
import { unionControlledStableDiffusionXL } from '../components/components.js';
import { CONTROL_OPTIONS, type ControlOptions } from './control.js';
import type { ControlImages } from './picture_control.js';
import { ControlledXLPipeline } from './controlled_xl_pipeline.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { XL_OPTIONS, type XLOptions } from '../stable_diffusion_xl/xl_options.js';

/** Options of `generate`: those of text to image, and pictures to steer by, whose size is the default, with the mode that each is of. */
export interface XLControlNetUnionOptions<T extends OutputType = 'image'> extends XLOptions<T>, ControlOptions {
  /** What to steer by, such as edges, depths or poses, scaled to `height` and `width`. */
  controlImage: ControlImages;
}

const XL_CONTROLNET_UNION_OPTIONS = [...XL_OPTIONS, ...CONTROL_OPTIONS, 'controlImage'];

/**
 * Text to image by Stable Diffusion XL, steered by pictures through a ControlNet-Union, which takes them of several kinds.
 * Equals diffusers' StableDiffusionXLControlNetUnionPipeline without watermark.
 */
export class StableDiffusionXLControlNetUnionPipeline extends ControlledXLPipeline {
  static override readonly family = unionControlledStableDiffusionXL;

  /** Makes images of prompts and of pictures to steer by. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLControlNetUnionOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, XL_CONTROLNET_UNION_OPTIONS);
    const { controlImage, ...others } = options;
    return this.generateSteered<T>(prompt, 'controlImage', controlImage, others as XLOptions<T> & ControlOptions);
  }
}
