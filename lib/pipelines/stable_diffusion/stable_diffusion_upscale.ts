import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkOptionNames, show } from '../../core/checks.js';
import { randn } from '../../core/random.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import { Scheduler } from '../../schedulers/scheduler.js';
import { checkUNetOptions } from '../inputs/check_unet_options.js';
import { upscalingStableDiffusion, type UpscaleComponents } from '../components/components.js';
import {
  OPTIONS, withoutSize, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType,
} from '../inputs/generate_options.js';
import { prepareLatents } from '../base/guided_pipeline.js';
import { checkImages, checkTurns, firstGenerators, inTurn, toPixels, wholeSide, type ImageInput } from '../inputs/image_input.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';

/**
 * Options of `generate`: those of the text-to-image pipeline, but the size is the picture's, times vaeScaleFactor. `numInferenceSteps` is
 * 75 by default, `guidanceScale` 9.
 */
export interface UpscaleOptions<T extends OutputType = 'image'> extends Omit<GenerateOptions<T>, 'height' | 'width'> {
  /**
   * The pictures to enlarge; their size is rounded down to a multiple of vaeScaleFactor. Pictures that are fewer than those
   * to make are taken in turn.
   */
  image: ImageInput;
  /**
   * How much noise to add to the small picture first, from 0 to `maxNoiseLevel`; with more noise, details are invented more freely. 20 by
   * default.
   */
  noiseLevel?: number;
}

const UPSCALE_OPTIONS = [...withoutSize(OPTIONS), 'image', 'noiseLevel'];

/** What latents of this model are multiplied by, whatever its config says. */
const SCALING_FACTOR = 0.08333;

/**
 * Enlarges a picture, four times with the model that was trained for it, as a prompt says: its UNet sees the picture, with some noise
 * added, in channels after the latents, which have the same height and width.
 * Equals diffusers' StableDiffusionUpscalePipeline without watermark.
 */
export class StableDiffusionUpscalePipeline extends StableDiffusionPipeline implements UpscaleComponents {
  static override readonly family = upscalingStableDiffusion;
  lowResScheduler: Scheduler;
  maxNoiseLevel: number;

  constructor({ lowResScheduler, maxNoiseLevel = 350, ...components }: UpscaleComponents) {
    super(components);
    if (!(lowResScheduler instanceof Scheduler)) {
      throw new TypeError(`lowResScheduler: got ${show(lowResScheduler)}, takes a Scheduler, as DDPMScheduler`);
    }
    this.lowResScheduler = lowResScheduler;
    this.maxNoiseLevel = maxNoiseLevel;
  }

  override get defaults(): StableDiffusionPipeline['defaults'] {
    return { numInferenceSteps: 75, guidanceScale: 9 };
  }

  override get defaultSampleSize(): UNet2DConditionConfig['sample_size'] {
    return this.unet.config.sample_size;
  }

  override get components(): UpscaleComponents {
    return { ...super.components, lowResScheduler: this.lowResScheduler, maxNoiseLevel: this.maxNoiseLevel };
  }

  /** Says so where the VAE's config has another factor; leaves the rest as it is. */
  protected override correctConfigs(): void {
    const { scaling_factor } = this.vae.config;
    if (scaling_factor === SCALING_FACTOR) return;
    console.warn(`vae config: scaling_factor ${scaling_factor} is outdated, taking ${SCALING_FACTOR}`);
  }

  /** Makes large images of a small one, and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: UpscaleOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, UPSCALE_OPTIONS);
    const { image, noiseLevel = 20, ...others } = options;
    const { vae, vaeScaleFactor: factor, lowResScheduler } = this;
    const { count, ...size } = checkImages('image', image, [3]);
    const [rows, columns] = [wholeSide(size.height, factor), wholeSide(size.width, factor)];
    const classLabels = [this.checkNoiseLevel(noiseLevel)];
    const checked = checkUNetOptions(
      this, prompt, { ...others, height: rows * factor, width: columns * factor },
      { channels: [vae.config.latent_channels + 3], classes: true },
    );
    const request: GenerateRequest = { ...checked, classLabels };
    const { generator, dtype, latentShape: [images] } = request;
    checkTurns('image', count, images);
    return this.run<T>(request, scheduler => tf.tidy(() => {
      const pixels = toPixels(image, rows, columns, 'bicubic');
      const noise = randn(pixels.shape, firstGenerators(generator, count), dtype);
      const condition = inTurn(lowResScheduler.addNoise(pixels, noise, noiseLevel), images);
      return { condition, latents: prepareLatents(request, scheduler), timesteps: scheduler.timesteps };
    }));
  }

  protected override toVaeLatents(latents: tf.Tensor): tf.Tensor {
    return latents.div(SCALING_FACTOR);
  }

  /** @throws RangeError for a level that the pipeline is not made for, or that the UNet knows no class of. */
  private checkNoiseLevel(noiseLevel: number): number {
    const { num_class_embeds: classes, class_embed_type: type } = this.unet.config;
    if (type !== null && type !== 'timestep') {
      throw new RangeError(`unet: class_embed_type: got ${show(type)}, takes null or 'timestep': the class is a noise level`);
    }
    return checkInteger('noiseLevel', noiseLevel, 0, Math.min(this.maxNoiseLevel, (classes ?? Infinity) - 1));
  }
}
