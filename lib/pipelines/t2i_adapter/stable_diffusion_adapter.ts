import { checkOptionNames } from '../../core/checks.js';
import type { Adapters } from '../../models/multi_adapter.js';
import { ADAPTER_OPTIONS, AdapterSteering, checkAdapter, type AdapterOptions } from './adapter_steering.js';
import { adaptedStableDiffusion, type AdapterComponents } from '../components/components.js';
import { OPTIONS, type GenerateOptions, type GenerateOutput, type OutputType } from '../inputs/generate_options.js';
import { StableDiffusionPipeline } from '../stable_diffusion/stable_diffusion.js';

/** Options of `generate`: those of the text-to-image pipeline, and pictures to steer by, whose size is the default. */
export interface AdapterPipelineOptions<T extends OutputType = 'image'> extends GenerateOptions<T>, AdapterOptions {}

const ALL_OPTIONS = [...OPTIONS, ...ADAPTER_OPTIONS];

/**
 * Text to image, steered by a picture through a T2I-Adapter (arXiv:2302.08453).
 * Equals diffusers' StableDiffusionAdapterPipeline.
 */
export class StableDiffusionAdapterPipeline extends StableDiffusionPipeline implements AdapterComponents {
  static override readonly family = adaptedStableDiffusion;
  adapter: Adapters;

  /** @throws TypeError for what is no T2I-Adapter, such as a list of them. */
  constructor({ adapter, ...components }: AdapterComponents) {
    super(components);
    checkAdapter(adapter);
    this.adapter = adapter;
  }

  /** Leaves configs as they are. */
  protected override correctConfigs(): void { /* as diffusers */ }

  override get components(): AdapterComponents {
    return { ...super.components, adapter: this.adapter };
  }

  /** Makes images of prompts and of pictures to steer by. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: AdapterPipelineOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, ALL_OPTIONS);
    const { image, adapterConditioningScale, ...others } = options;
    const steering = new AdapterSteering(this, { image, adapterConditioningScale });
    const { height = steering.height, width = steering.width } = others;
    return this.generateFromNoise<T>(prompt, { ...others, height, width }, steering);
  }
}
