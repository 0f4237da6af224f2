import type { ControlNets } from '../../models/controlnets.js';
import type { XLControlNetComponents } from '../components/components.js';
import type { Family } from '../components/component.js';
import { checkControlNet } from './check_controlnet.js';
import { Control, type ControlOptions } from './control.js';
import type { ControlImages } from './picture_control.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { StableDiffusionXLPipeline } from '../stable_diffusion_xl/stable_diffusion_xl.js';
import type { XLOptions } from '../stable_diffusion_xl/xl_options.js';

/** Stable Diffusion XL, steered by pictures through ControlNets of whichever kind. */
export abstract class ControlledXLPipeline extends StableDiffusionXLPipeline implements XLControlNetComponents {
  declare static readonly family: Family<XLControlNetComponents>;
  override controlnet: ControlNets;

  /** @throws TypeError for what is no ControlNet, such as a list of them, or is one of another kind. */
  constructor({ controlnet, ...components }: XLControlNetComponents) {
    super(components);
    checkControlNet(controlnet, new.target.family);
    this.controlnet = controlnet;
  }

  override get components(): XLControlNetComponents {
    return { ...super.components, controlnet: this.controlnet };
  }

  /** Text to image: the pictures to steer by are what the option `name` gives, and their size is the default. */
  protected generateSteered<T extends OutputType>(
    prompt: string | string[] | undefined, name: string, images: ControlImages, options: XLOptions<T> & ControlOptions,
  ): Promise<GenerateOutput<T>> {
    const [others, control] = Control.from(this, name, images, options);
    const { height = control.height, width = control.width } = others;
    return this.generateFromNoise<T>(prompt, { ...others, height, width }, control);
  }
}
