import * as tf from '@tensorflow/tfjs';
import type { PromptEncoder } from '../../adapters/learned_words.js';
import { checkOptionNames } from '../../core/checks.js';
import type { Image } from '../../image/image.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import { CLIPImageProcessor } from '../../models/clip_image_processor.js';
import type { CLIPTextModel } from '../../models/clip_text_model.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import type { StableDiffusionSafetyChecker } from '../../models/safety_checker.js';
import type { UNet2DConditionModel } from '../../models/unet_2d_condition_model.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { CLIPTokenizer } from '../../tokenizer/clip_tokenizer.js';
import { checkScheduler } from '../inputs/check_generate_options.js';
import { checkUNetOptions } from '../inputs/check_unet_options.js';
import { stableDiffusion, type StableDiffusionComponents } from '../components/components.js';
import { correctScheduler, trainedSampleSize, warnOfSampleSize, type MeantOptions } from '../components/correct_configs.js';
import { encodePrompt, repeatEach } from '../inputs/encode_prompt.js';
import { OPTIONS, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType } from '../inputs/generate_options.js';
import { prepareLatents, type EncodedTexts } from '../base/guided_pipeline.js';
import { ImagePromptPipeline } from '../base/image_prompt_pipeline.js';
import { hideUnsafe, type CheckedPictures } from '../base/safety.js';
import type { UNetSteering } from '../inputs/steering.js';

declare module '../components/registry.js' {
  interface PipelineTypes {
    usual: StableDiffusionPipeline;
  }
}

/**
 * Text to image by latent diffusion (arXiv:2112.10752).
 * Equals diffusers' StableDiffusionPipeline, which has a safety checker only if it is given one.
 */
export class StableDiffusionPipeline extends ImagePromptPipeline implements StableDiffusionComponents {
  static readonly family = stableDiffusion;
  vae: Autoencoder;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
  safetyChecker?: StableDiffusionSafetyChecker;
  readonly familyName: string = 'StableDiffusion';

  constructor(components: StableDiffusionComponents) {
    super();
    const { vae, textEncoder, tokenizer, unet, scheduler, imageEncoder, featureExtractor, safetyChecker } = components;
    checkScheduler(scheduler);
    this.vae = vae;
    this.textEncoder = textEncoder;
    this.tokenizer = tokenizer;
    this.unet = unet;
    this.scheduler = scheduler;
    this.imageEncoder = imageEncoder;
    this.featureExtractor = featureExtractor;
    this.safetyChecker = safetyChecker;
    this.correctConfigs();
  }

  /** What a scheduler's config should say, whatever an old one does. */
  protected get meantOptions(): MeantOptions {
    return { steps_offset: 1, clip_sample: false };
  }

  /** Takes what old configs should have said. */
  protected correctConfigs(): void {
    this.scheduler = correctScheduler(this.scheduler, this.meantOptions);
    warnOfSampleSize(this.unet.config);
  }

  /**
   * Height and width of the latents if `generate` gets no `height` and `width`: the UNet's `sample_size`, or 64 where an old config is
   * wrong.
   */
  get defaultSampleSize(): UNet2DConditionConfig['sample_size'] {
    return trainedSampleSize(this.unet.config);
  }

  /** The defaults of `numInferenceSteps` and `guidanceScale` in `generate`. */
  get defaults(): { readonly numInferenceSteps: number; readonly guidanceScale: number } {
    return { numInferenceSteps: 50, guidanceScale: 7.5 };
  }

  override get promptEncoders(): readonly PromptEncoder[] {
    return [this];
  }

  /** The pipeline's parts; another pipeline can be made of the same ones. */
  get components(): StableDiffusionComponents {
    const { vae, textEncoder, tokenizer, unet, scheduler, imageEncoder, featureExtractor, safetyChecker } = this;
    return { vae, textEncoder, tokenizer, unet, scheduler, imageEncoder, featureExtractor, safetyChecker };
  }

  /**
   * Makes images of prompts.
   * @throws TypeError or RangeError for options that do not fit, before any work; the signal's reason when aborted.
   */
  async generate<T extends OutputType = 'image'>(
    prompt?: string | string[], options: GenerateOptions<T> = {},
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, OPTIONS);
    return this.generateFromNoise(prompt, options);
  }

  /** `generate`, for options whose names are checked; `steering` is what steers besides. */
  protected generateFromNoise<T extends OutputType>(
    prompt: string | string[] | undefined, options: GenerateOptions<T>, steering?: UNetSteering,
  ): Promise<GenerateOutput<T>> {
    const request = checkUNetOptions(this, prompt, options);
    return this.run(request, scheduler => ({ latents: prepareLatents(request, scheduler), timesteps: scheduler.timesteps }), steering);
  }

  /** Makes pictures black that the safety checker, if there is one, detects. */
  protected override async check(images: Image[] | tf.Tensor, { outputType }: GenerateRequest): Promise<CheckedPictures> {
    const { safetyChecker } = this;
    if (!safetyChecker || outputType === 'latent') return { images };
    this.makeReady(safetyChecker);
    const { image_size: size } = safetyChecker.config.vision_config;
    this.featureExtractor ??= new CLIPImageProcessor({ size, crop_size: size });
    return hideUnsafe({ safetyChecker, featureExtractor: this.featureExtractor }, images);
  }

  /** The text that guides: `[images, tokens, features]`, or with guidance `[2 * images, ...]`, what to avoid first. */
  protected override encodePrompts(request: GenerateRequest): EncodedTexts {
    const { prompts, negativePrompts, numImagesPerPrompt, clipSkip, guided } = request;
    this.makeReady(this.textEncoder);
    const positive = request.promptEmbeds ?? encodePrompt(this, prompts!, { clipSkip });
    if (!guided) return { encoderHiddenStates: repeatEach(positive, numImagesPerPrompt) };
    const negative = request.negativePromptEmbeds ?? encodePrompt(this, negativePrompts, { tokens: positive.shape[1] });
    return { encoderHiddenStates: repeatEach(tf.concat([negative, positive]), numImagesPerPrompt) };
  }
}
