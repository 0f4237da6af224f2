import { checkOptionNames } from '../../core/checks.js';
import { controlledStableDiffusionXL } from '../components/components.js';
import { CONTROL_OPTIONS, type ControlOptions } from './control.js';
import { ControlledXLPipeline } from './controlled_xl_pipeline.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import type { ControlNetOptions } from './stable_diffusion_controlnet.js';
import { XL_OPTIONS, type XLOptions } from '../stable_diffusion_xl/xl_options.js';

/** Options of `generate`: those of text to image, and pictures to steer by, whose size is the default. */
export interface XLControlNetOptions<T extends OutputType = 'image'>
  extends XLOptions<T>, ControlOptions, Pick<ControlNetOptions, 'image'> {}

const XL_CONTROLNET_OPTIONS = [...XL_OPTIONS, ...CONTROL_OPTIONS, 'image'];

/**
 * Text to image by Stable Diffusion XL, steered by a picture through a ControlNet.
 * Equals diffusers' StableDiffusionXLControlNetPipeline without watermark.
 */
export class StableDiffusionXLControlNetPipeline extends ControlledXLPipeline {
  static override readonly family = controlledStableDiffusionXL;

  /** Makes images of prompts and of pictures to steer by. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLControlNetOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, XL_CONTROLNET_OPTIONS);
    const { image, ...others } = options;
    return this.generateSteered<T>(prompt, 'image', image, others as XLOptions<T> & ControlOptions);
  }
}
