import { checkOptionNames } from '../../core/checks.js';
import type { Adapters } from '../../models/multi_adapter.js';
import { ADAPTER_OPTIONS, AdapterSteering, checkAdapter, type AdapterOptions, type AdapterRange } from './adapter_steering.js';
import { adaptedStableDiffusionXL, type XLAdapterComponents } from '../components/components.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { StableDiffusionXLPipeline } from '../stable_diffusion_xl/stable_diffusion_xl.js';
import { XL_OPTIONS, type XLOptions } from '../stable_diffusion_xl/xl_options.js';

/** Options of `generate`: those of text to image, and pictures to steer by, whose size is the default. */
export interface XLAdapterPipelineOptions<T extends OutputType = 'image'>
  extends XLOptions<T>, AdapterOptions, Pick<AdapterRange, 'adapterConditioningFactor'> {}

const ALL_OPTIONS = [...XL_OPTIONS, ...ADAPTER_OPTIONS, 'adapterConditioningFactor'];

/**
 * Text to image by Stable Diffusion XL, steered by a picture through a T2I-Adapter.
 * Equals diffusers' StableDiffusionXLAdapterPipeline without watermark.
 */
export class StableDiffusionXLAdapterPipeline extends StableDiffusionXLPipeline implements XLAdapterComponents {
  static override readonly family = adaptedStableDiffusionXL;
  adapter: Adapters;

  /** @throws TypeError for what is no T2I-Adapter, such as a list of them. */
  constructor({ adapter, ...components }: XLAdapterComponents) {
    super(components);
    checkAdapter(adapter);
    this.adapter = adapter;
  }

  override get components(): XLAdapterComponents {
    return { ...super.components, adapter: this.adapter };
  }

  /** Makes images of prompts and of pictures to steer by. Throws as StableDiffusionXLPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: XLAdapterPipelineOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, ALL_OPTIONS);
    const { image, adapterConditioningScale, adapterConditioningFactor, ...others } = options;
    const range = { adapterConditioningFactor, denoisingEnd: others.denoisingEnd };
    const steering = new AdapterSteering(this, { image, adapterConditioningScale }, range);
    const { height = steering.height, width = steering.width } = others;
    return this.generateFromNoise<T>(prompt, { ...others, height, width }, steering);
  }
}
