import { checkOptionNames } from '../../core/checks.js';
import type { Model } from '../../models/model.js';
import type { SD3ControlNets } from '../../models/sd3_multi_controlnet.js';
import { controlledStableDiffusion3, type SD3ControlNetComponents } from '../components/components.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { SD3_OPTIONS, type SD3Options } from '../stable_diffusion_3/sd3_options.js';
import { StableDiffusion3Pipeline } from '../stable_diffusion_3/stable_diffusion_3.js';
import { checkControlNet } from './check_controlnet.js';
import { SD3Control, SD3_CONTROL_OPTIONS, type SD3ControlOptions } from './sd3_control.js';

/** Options of `generate`: those of text to image without skipped layers, and pictures to steer by. */
export interface SD3ControlNetOptions<T extends OutputType = 'image'> extends SD3Options<T>, SD3ControlOptions {}

const SD3_CONTROLNET_OPTIONS = [...SD3_OPTIONS, ...SD3_CONTROL_OPTIONS];

/**
 * Text to image by Stable Diffusion 3, steered by a picture through a ControlNet.
 * Equals diffusers' StableDiffusion3ControlNetPipeline, but that the picture's latents are the most likely ones.
 */
export class StableDiffusion3ControlNetPipeline extends StableDiffusion3Pipeline implements SD3ControlNetComponents {
  static override readonly family = controlledStableDiffusion3;
  controlnet: SD3ControlNets;

  /** @throws TypeError for what is no ControlNet, such as a list of them, or is one of another kind. */
  constructor({ controlnet, ...components }: SD3ControlNetComponents) {
    super(components);
    checkControlNet(controlnet, new.target.family);
    this.controlnet = controlnet;
  }

  override get components(): SD3ControlNetComponents {
    return { ...super.components, controlnet: this.controlnet };
  }

  protected override get denoisers(): ReadonlyArray<Model<unknown>> {
    return [this.transformer, this.controlnet];
  }

  /** Makes images of prompts and of pictures to steer by. Throws as StableDiffusion3Pipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: SD3ControlNetOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, SD3_CONTROLNET_OPTIONS);
    const [others, control] = SD3Control.from(this, options);
    return this.generateFromNoise<T>(prompt, others as SD3Options<T>, control);
  }
}
