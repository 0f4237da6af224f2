import * as tf from '@tensorflow/tfjs';
import { checkOptionNames } from '../../core/checks.js';
import { double } from '../../layers/upsample_2d.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import { SigmaScheduler } from '../../schedulers/sigma_scheduler.js';
import { checkPooled, POOLED_OPTIONS, type PooledOptions } from '../inputs/check_pooled.js';
import { checkUNetOptions } from '../inputs/check_unet_options.js';
import type { Predict } from '../run/denoise.js';
import { encodePooled, type EncodedWhole } from '../inputs/encode_prompt.js';
import {
  OPTIONS, withoutSize, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType,
} from '../inputs/generate_options.js';
import { prepareLatents, type EncodedTexts } from '../base/guided_pipeline.js';
import { checkTurns, firstGenerators, inTurn, startingPictures, type ImageInput } from '../inputs/image_input.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';

/** What this model does not take. */
const MISSING = [
  'numImagesPerPrompt', 'clipSkip', 'eta', 'ipAdapterImage', 'ipAdapterImageEmbeds', 'ipAdapterMasks',
  'pagScale', 'pagAdaptiveScale', 'pagAppliedLayers',
] as const;

/**
 * Options of `generate`: those of the text-to-image pipeline as far as they apply, but the size is twice the picture's. `numInferenceSteps`
 * is 75 by default, `guidanceScale` 9; with 0 the prompt is not used. `promptEmbeds` are not normalized.
 */
export interface LatentUpscaleOptions<T extends OutputType = 'image'>
  extends Omit<GenerateOptions<T>, 'height' | 'width' | typeof MISSING[number]>, PooledOptions {
  /**
   * The pictures to enlarge; their size is rounded down to a multiple of vaeScaleFactor. Pictures that are fewer than those
   * to make are taken in turn. They can also be latents as another pipeline gives them: a tensor
   * `[images, height, width, latent_channels]`.
   */
  image: ImageInput;
}

const LATENT_UPSCALE_OPTIONS = [
  ...withoutSize(OPTIONS).filter(option => !(MISSING as readonly string[]).includes(option)),
  'image', ...POOLED_OPTIONS,
];

/** What was asked for, and each text as a whole, where it is given. */
interface LatentUpscaleRequest extends GenerateRequest, PooledOptions {}

/** Features that tell the UNet how much noise is on the picture: none. */
const NOISE_FEATURES = 128;

/**
 * Doubles the size of a picture, or of latents before they are decoded, as a prompt says: a UNet of k-diffusion's blocks sees the small
 * latents in further channels.
 * Equals diffusers' StableDiffusionLatentUpscalePipeline.
 */
export class StableDiffusionLatentUpscalePipeline extends StableDiffusionPipeline {
  override get defaults(): StableDiffusionPipeline['defaults'] {
    return { numInferenceSteps: 75, guidanceScale: 9 };
  }

  override get defaultSampleSize(): UNet2DConditionConfig['sample_size'] {
    return this.unet.config.sample_size;
  }

  override get takesNegativePrompt(): boolean {
    return true; // what tells others how strong guidance is tells this UNet of the text
  }

  /** Leaves configs as they are. */
  protected override correctConfigs(): void { /* as diffusers */ }

  /** Makes large images of small ones, and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: LatentUpscaleOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, LATENT_UPSCALE_OPTIONS);
    const { image, pooledPromptEmbeds, negativePooledPromptEmbeds, ...others } = options;
    const pictures = startingPictures(this.vae, image, 'bicubic');
    const { count, height, width } = pictures;
    this.checkParts();
    const expected = { channels: [2 * this.vae.config.latent_channels], guides: (scale: number) => scale > 1 };
    const checked = checkUNetOptions(this, prompt, { ...others, height: 2 * height, width: 2 * width }, expected);
    const { guidanceScale, prompts, latentShape: [images] } = checked;
    this.checkSize(pictures);
    checkTurns('image', count, images);
    const { promptEmbeds, negativePromptEmbeds } = others;
    refuseAlone({ pooledPromptEmbeds, promptEmbeds });
    refuseAlone({ negativePooledPromptEmbeds, negativePromptEmbeds });
    const given = { promptEmbeds, pooledPromptEmbeds, negativePromptEmbeds, negativePooledPromptEmbeds };
    checkPooled(given, images, this.textEncoder.config.hidden_size);
    const request: LatentUpscaleRequest = {
      ...checked, pooledPromptEmbeds, negativePooledPromptEmbeds,
      prompts: guidanceScale === 0 ? prompts?.map(() => '') : prompts,
    };
    return this.run<T>(request, scheduler => ({
      ...tf.tidy(() => ({
        condition: double(inTurn(pictures.latents(firstGenerators(request.generator, count)), images)),
        latents: prepareLatents(request, scheduler),
      })),
      timesteps: scheduler.timesteps,
      precondition: precondition(scheduler as SigmaScheduler, this.vae.config.latent_channels),
    }));
  }

  /** The texts that guide, token by token, and as a whole behind how much noise is on the picture. */
  protected override encodePrompts(request: LatentUpscaleRequest): EncodedTexts {
    const { prompts, negativePrompts, guided, promptEmbeds, negativePromptEmbeds } = request;
    this.makeReady(this.textEncoder);
    const take = (states: tf.Tensor | undefined, pooled: tf.Tensor | undefined, texts: string[], tokens?: number): EncodedWhole =>
      states ? { states, pooled: pooled! } : encodePooled(this, texts, { tokens });
    const wanted = take(promptEmbeds, request.pooledPromptEmbeds, prompts!);
    const all = [wanted];
    if (guided) all.unshift(take(negativePromptEmbeds, request.negativePooledPromptEmbeds, negativePrompts, wanted.states.shape[1]));
    const pooled = tf.concat(all.map(each => each.pooled));
    const [texts] = pooled.shape;
    const half = [texts, NOISE_FEATURES / 2]; // cosines and sines of no noise
    return {
      encoderHiddenStates: tf.concat(all.map(({ states }) => states)),
      timestepCond: tf.concat([tf.ones(half), tf.zeros(half), pooled], 1),
    };
  }

  /** @throws RangeError for a scheduler or a UNet that is not the upscaler's. */
  private checkParts(): void {
    const { scheduler, textEncoder, unet: { config: { time_cond_proj_dim: features, out_channels } } } = this;
    if (!(scheduler instanceof SigmaScheduler)) {
      const { className } = scheduler.constructor as typeof Scheduler;
      throw new RangeError(`scheduler: got ${className}, takes EulerDiscreteScheduler, or another that scales the latents by sigmas`);
    }
    const takes = NOISE_FEATURES + textEncoder.config.hidden_size;
    if (features !== takes) throw new RangeError(`unet: time_cond_proj_dim: got ${features}, takes ${takes}: of noise, and of a text`);
    const most = this.vae.config.latent_channels;
    if (out_channels < most) throw new RangeError(`unet: out_channels: got ${out_channels}, takes ${most} or more`);
  }

  /** @throws RangeError for sides that the UNet cannot halve as often as it does. */
  private checkSize({ height, width }: { height: number; width: number }): void {
    const factor = this.vaeScaleFactor * Math.max(1, 2 ** (this.unet.config.block_out_channels.length - 2));
    if (height % factor === 0 && width % factor === 0) return;
    throw new RangeError(`image: got ${width} x ${height} pixels, takes sides divisible by ${factor}`);
  }
}

/** The UNet is told a logarithm for the time, and what it says is weighed with the latents (arXiv:2206.00364, table 1). */
function precondition({ sigmas }: SigmaScheduler, channels: number): (predict: Predict) => Predict {
  const firstOf = (x: tf.Tensor) => tf.slice(x, [0, 0, 0, 0], [-1, -1, -1, channels]);
  return predict => (sample, _timestep, index) => {
    const sigma = sigmas[index];
    const predicted = firstOf(predict(sample, Math.fround(Math.log(sigma)) * 0.25, index)); // a variance is behind it, of no use
    return tf.div(tf.add(firstOf(sample), tf.mul(predicted, sigma)), Math.sqrt(sigma ** 2 + 1));
  };
}

/** @throws TypeError for a text as a whole that has no tokens beside it. */
function refuseAlone(options: Record<string, tf.Tensor | undefined>): void {
  const [[name, pooled], [beside, embeds]] = Object.entries(options);
  if (pooled && !embeds) throw new TypeError(`${name}: got a tensor, takes each text as a whole, [prompts, features], beside ${beside}`);
}
