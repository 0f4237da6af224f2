import { checkOptionNames } from '../../core/checks.js';
import type { ControlNets } from '../../models/multi_controlnet.js';
import { controlledStableDiffusionXL, type XLControlNetComponents } from '../components/components.js';
import { checkControlNet, Control, CONTROL_OPTIONS, type ControlOptions } from './control.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import type { ControlNetOptions } from './stable_diffusion_controlnet.js';
import { StableDiffusionXLPipeline } from '../stable_diffusion_xl/stable_diffusion_xl.js';
import { XL_OPTIONS, type XLOptions } from '../stable_diffusion_xl/xl_options.js';

/** Options of `generate`: those of text to image, and pictures to steer by, whose size is the default. */
export interface XLControlNetOptions<T extends OutputType = 'image'>
  extends XLOptions<T>, ControlOptions, Pick<ControlNetOptions, 'image'> {}

const XL_CONTROLNET_OPTIONS = [...XL_OPTIONS, ...CONTROL_OPTIONS, 'image'];

/**
 * Text to image by Stable Diffusion XL, steered by a picture through a ControlNet.
 * Equals diffusers' StableDiffusionXLControlNetPipeline without watermark.
 */
export class StableDiffusionXLControlNetPipeline extends StableDiffusionXLPipeline implements XLControlNetComponents {
  static override readonly family = controlledStableDiffusionXL;
  override controlnet: ControlNets;

  /** @throws TypeError for what is no ControlNet, such as a list of them. */
  constructor({ controlnet, ...components }: XLControlNetComponents) {
    super(components);
    checkControlNet(controlnet);
    this.controlnet = controlnet;
  }

  override get components(): XLControlNetComponents {
    return { ...super.components, controlnet: this.controlnet };
  }

  /** Makes images of prompts and of pictures to steer by. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLControlNetOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, XL_CONTROLNET_OPTIONS);
    const { image, ...rest } = options;
    const [others, control] = Control.from(this, 'image', image, rest);
    const { height = control.height, width = control.width } = others;
    return this.generateFromNoise<T>(prompt, { ...others, height, width }, control);
  }
}
