import * as tf from '@tensorflow/tfjs';
import type { PromptEncoder } from '../../adapters/learned_words.js';
import { checkOptionNames } from '../../core/checks.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import type { CLIPTextModel } from '../../models/clip_text_model.js';
import type { CLIPTextModelWithProjection } from '../../models/clip_text_model_with_projection.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import type { UNet2DConditionModel } from '../../models/unet_2d_condition_model.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { CLIPTokenizer } from '../../tokenizer/clip_tokenizer.js';
import { checkXLOptions } from './check_xl_options.js';
import { stableDiffusionXL, type StableDiffusionXLComponents } from '../components/components.js';
import { timestepsUntil } from './denoising_range.js';
import { encodePenultimate, joinTexts, takeOrEncode, type EncodedWhole, type EncodeOptions } from '../inputs/encode_prompt.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import { prepareLatents, type EncodedTexts } from '../base/guided_pipeline.js';
import { ImagePromptPipeline } from '../base/image_prompt_pipeline.js';
import type { UNetSteering } from '../inputs/steering.js';
import { XL_OPTIONS, type XLOptions, type XLRequest } from './xl_options.js';

/**
 * Text to image by Stable Diffusion XL (arXiv:2307.01952): two text encoders, and a UNet that also gets sizes and the pooled text.
 * Equals diffusers' StableDiffusionXLPipeline without watermark.
 */
export class StableDiffusionXLPipeline extends ImagePromptPipeline implements StableDiffusionXLComponents {
  static readonly family = stableDiffusionXL;
  readonly familyName = 'StableDiffusionXL';
  vae: Autoencoder;
  textEncoder?: CLIPTextModel;
  tokenizer?: CLIPTokenizer;
  textEncoder2: CLIPTextModelWithProjection;
  tokenizer2: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
  forceZerosForEmptyPrompt: boolean;
  requiresAestheticsScore: boolean;

  constructor(components: StableDiffusionXLComponents) {
    super();
    this.vae = components.vae;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.textEncoder2 = components.textEncoder2;
    this.tokenizer2 = components.tokenizer2;
    this.unet = components.unet;
    this.scheduler = components.scheduler;
    this.imageEncoder = components.imageEncoder;
    this.featureExtractor = components.featureExtractor;
    this.forceZerosForEmptyPrompt = components.forceZerosForEmptyPrompt ?? true;
    this.requiresAestheticsScore = components.requiresAestheticsScore ?? false;
  }

  get defaultSampleSize(): UNet2DConditionConfig['sample_size'] {
    return this.unet.config.sample_size;
  }

  get defaults(): { readonly numInferenceSteps: number; readonly guidanceScale: number } {
    return { numInferenceSteps: 50, guidanceScale: 5 };
  }

  /** The pipeline's parts; another pipeline can be made of the same ones. */
  get components(): StableDiffusionXLComponents {
    const { vae, textEncoder, tokenizer, textEncoder2, tokenizer2, unet, scheduler } = this;
    const { imageEncoder, featureExtractor, forceZerosForEmptyPrompt, requiresAestheticsScore } = this;
    return {
      vae, textEncoder, tokenizer, textEncoder2, tokenizer2, unet, scheduler, imageEncoder, featureExtractor, forceZerosForEmptyPrompt,
      requiresAestheticsScore,
    };
  }

  override get promptEncoders(): readonly PromptEncoder[] {
    const { textEncoder, tokenizer, textEncoder2, tokenizer2 } = this;
    const second = { textEncoder: textEncoder2, tokenizer: tokenizer2 };
    return textEncoder && tokenizer ? [{ textEncoder, tokenizer }, second] : [second];
  }

  /**
   * Makes images of prompts.
   * @throws TypeError or RangeError for options that do not fit, before any work; the signal's reason when aborted.
   */
  async generate<T extends OutputType = 'image'>(prompt?: string | string[], options: XLOptions<T> = {}): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, XL_OPTIONS);
    return this.generateFromNoise(prompt, options);
  }

  /** `generate`, for options whose names are checked; `steering` is what steers besides. */
  protected generateFromNoise<T extends OutputType>(
    prompt: string | string[] | undefined, options: XLOptions<T>, steering?: UNetSteering,
  ): Promise<GenerateOutput<T>> {
    const request = checkXLOptions(this, prompt, options);
    return this.run(request, scheduler => ({
      latents: prepareLatents(request, scheduler), ...timestepsUntil(scheduler, scheduler.timesteps, request.denoisingEnd),
    }), steering);
  }

  /** The texts that guide, token by token and as a whole, for each image; with guidance, what to avoid first. */
  protected override encodePrompts(request: XLRequest): EncodedTexts {
    const { prompts, prompts2, negativePrompts, negativePrompts2, numImagesPerPrompt, clipSkip, guided, avoidsZeros } = request;
    const wanted = takeOrEncode(request.promptEmbeds, request.pooledPromptEmbeds, () => (
      this.encodeTexts([prompts!, prompts2!], { clipSkip })
    ));
    if (!guided) return joinTexts([wanted], numImagesPerPrompt);
    const avoided = takeOrEncode(request.negativePromptEmbeds, request.negativePooledPromptEmbeds, () => avoidsZeros
      ? { states: tf.zerosLike(wanted.states), pooled: tf.zerosLike(wanted.pooled) }
      : this.encodeTexts([negativePrompts, negativePrompts2], { tokens: wanted.states.shape[1] }));
    return joinTexts([avoided, wanted], numImagesPerPrompt);
  }

  /** The states of all text encoders, one behind the other, and the texts as a whole of the last one. */
  private encodeTexts(texts: string[][], options: EncodeOptions): EncodedWhole {
    const encoded = this.promptEncoders.map((encoder, i) => {
      this.makeReady(encoder.textEncoder);
      return encodePenultimate(encoder, texts[i], options);
    });
    return { states: tf.concat(encoded.map(({ states }) => states), -1), pooled: encoded.at(-1)!.pooled! };
  }
}
