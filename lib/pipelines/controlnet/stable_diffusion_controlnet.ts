import { checkOptionNames } from '../../core/checks.js';
import type { ControlNets } from '../../models/controlnets.js';
import { controlledStableDiffusion, type ControlNetComponents } from '../components/components.js';
import { checkControlNet } from './check_controlnet.js';
import { Control, CONTROL_OPTIONS, type ControlOptions } from './control.js';
import type { ControlImages } from './picture_control.js';
import { OPTIONS, type GenerateOptions, type GenerateOutput, type OutputType } from '../inputs/generate_options.js';
import { StableDiffusionPipeline } from '../stable_diffusion/stable_diffusion.js';

/** Options of `generate`: those of the text-to-image pipeline, and pictures to steer by, whose size is the default. */
export interface ControlNetOptions<T extends OutputType = 'image'> extends GenerateOptions<T>, ControlOptions {
  /** What to steer by, such as edges, depths or poses, scaled to `height` and `width`. */
  image: ControlImages;
}

const CONTROLNET_OPTIONS = [...OPTIONS, ...CONTROL_OPTIONS, 'image'];

/**
 * Text to image, steered by a picture through a ControlNet (arXiv:2302.05543).
 * Equals diffusers' StableDiffusionControlNetPipeline.
 */
export class StableDiffusionControlNetPipeline extends StableDiffusionPipeline implements ControlNetComponents {
  static override readonly family = controlledStableDiffusion;
  override controlnet: ControlNets;

  /** @throws TypeError for what is no ControlNet, such as a list of them, or is one of another kind. */
  constructor({ controlnet, ...components }: ControlNetComponents) {
    super(components);
    checkControlNet(controlnet, new.target.family);
    this.controlnet = controlnet;
  }

  /** Leaves configs as they are. */
  protected override correctConfigs(): void { /* as diffusers */ }

  override get components(): ControlNetComponents {
    return { ...super.components, controlnet: this.controlnet };
  }

  /** Makes images of prompts and of pictures to steer by. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: ControlNetOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, CONTROLNET_OPTIONS);
    const { image, ...rest } = options;
    const [others, control] = Control.from(this, 'image', image, rest);
    const { height = control.height, width = control.width } = others;
    return this.generateFromNoise<T>(prompt, { ...others, height, width }, control);
  }
}
