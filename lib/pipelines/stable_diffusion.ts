import * as tf from '@tensorflow/tfjs';
import { checkOptionNames } from '../core/checks.js';
import { randn } from '../core/random.js';
import { getGuidanceScaleEmbedding } from '../layers/timestep_embedding.js';
import type { Autoencoder } from '../models/autoencoder.js';
import type { CLIPTextModel } from '../models/clip_text_model.js';
import { DeepCache } from '../models/deep_cache.js';
import type { UNet2DConditionConfig } from '../models/unet_2d_condition_config.js';
import type { UNet2DConditionModel } from '../models/unet_2d_condition_model.js';
import type { Scheduler } from '../schedulers/scheduler.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { AdaptablePipeline } from './adaptable_pipeline.js';
import { checkGenerateOptions, checkScheduler } from './check_generate_options.js';
import { stableDiffusion, type StableDiffusionComponents } from './components.js';
import { correctScheduler, trainedSampleSize, warnOfSampleSize } from './correct_configs.js';
import type { DenoisingOptions, DenoisingStart } from './denoise.js';
import { describeImages } from './describe_images.js';
import { encodePrompt, repeatEach } from './encode_prompt.js';
import { OPTIONS, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType } from './generate_options.js';
import { guide } from './guidance.js';
import { checkNumbers, helpForNetwork } from './not_a_number.js';
import { explainOutOfMemory } from './out_of_memory.js';

declare module './registry.js' {
  interface PipelineTypes {
    usual: StableDiffusionPipeline;
  }
}

/**
 * Text to image by latent diffusion (arXiv:2112.10752).
 * Equals diffusers' StableDiffusionPipeline without safety checker.
 */
export class StableDiffusionPipeline extends AdaptablePipeline implements StableDiffusionComponents {
  static readonly family = stableDiffusion;
  vae: Autoencoder;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
  /** Whether the result is what the last step predicts without noise, whatever noise it adds again. */
  protected readonly endsWithOriginal: boolean = false;

  constructor({ vae, textEncoder, tokenizer, unet, scheduler }: StableDiffusionComponents) {
    super();
    checkScheduler(scheduler);
    this.vae = vae;
    this.textEncoder = textEncoder;
    this.tokenizer = tokenizer;
    this.unet = unet;
    this.scheduler = scheduler;
    this.correctConfigs();
  }

  /** Takes what old configs should have said. */
  protected correctConfigs(): void {
    this.scheduler = correctScheduler(this.scheduler);
    warnOfSampleSize(this.unet.config);
  }

  /** Height and width of the latents where `generate` is told no size: the UNet's `sample_size`, or 64 where an old config is wrong. */
  get defaultSampleSize(): UNet2DConditionConfig['sample_size'] {
    return trainedSampleSize(this.unet.config);
  }

  /** What `generate` takes where its options say nothing. */
  get defaults(): { readonly numInferenceSteps: number; readonly guidanceScale: number } {
    return { numInferenceSteps: 50, guidanceScale: 7.5 };
  }

  /** What the pipeline is made of; another pipeline can be made of the same. */
  get components(): StableDiffusionComponents {
    const { vae, textEncoder, tokenizer, unet, scheduler } = this;
    return { vae, textEncoder, tokenizer, unet, scheduler };
  }

  /**
   * Makes images of prompts.
   * @throws TypeError or RangeError for options that do not fit, before any work; the signal's reason when aborted.
   */
  async generate<T extends OutputType = 'image'>(
    prompt?: string | string[], options: GenerateOptions<T> = {},
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, OPTIONS);
    const request = checkGenerateOptions(this, prompt, options);
    return this.run(request, scheduler => ({ latents: prepareLatents(request, scheduler), timesteps: scheduler.timesteps }));
  }

  /** All of `generate`, but for where the denoising starts: asked with the run's scheduler when its timesteps are set. */
  protected async run<T extends OutputType>(request: GenerateRequest, start: (scheduler: Scheduler) => DenoisingStart): Promise<GenerateOutput<T>> {
    return this.runningWithLoras(request.loraScale, async () => {
      request.signal?.throwIfAborted();
      this.scheduler.setTimesteps(request.steps, request.timestepsOptions); // as in diffusers, for all to see
      const scheduler = this.scheduler.clone(); // other pipelines may be at work with the same one
      scheduler.setTimesteps(request.steps, request.timestepsOptions);
      this.makeReady(this.textEncoder);
      const encoderHiddenStates = this.encodePrompts(request);
      try {
        if (request.detectAnomaly) await checkNumbers('the encoded text', encoderHiddenStates, helpForNetwork('textEncoder', this));
        this.makeReady(this.vae); // some starts encode pictures
        if (request.outputType !== 'latent') this.recordDecoder(request.latentShape);
        const latents = await this.denoiseLatents(start(scheduler), encoderHiddenStates, scheduler, request);
        this.makeReady(this.vae);
        const images = await this.toOutput(latents, request);
        return { images: Array.isArray(images) ? describeImages(images, request, this.scheduler) : images } as GenerateOutput<T>;
      } finally {
        encoderHiddenStates.dispose();
        scheduler.dispose();
      }
    }, request).catch(error => { throw explainOutOfMemory(error, this, request.latentShape); });
  }

  /** The text that guides: `[images, tokens, features]`, or with guidance `[2 * images, ...]`, what to avoid first. */
  private encodePrompts(request: GenerateRequest): tf.Tensor {
    const { prompts, negativePrompts, numImagesPerPrompt, clipSkip, guided } = request;
    return tf.tidy(() => {
      const positive = request.promptEmbeds ?? encodePrompt(this, prompts!, { clipSkip });
      if (!guided) return repeatEach(positive, numImagesPerPrompt);
      const negative = request.negativePromptEmbeds ?? encodePrompt(this, negativePrompts, { tokens: positive.shape[1] });
      return tf.concat([repeatEach(negative, numImagesPerPrompt), repeatEach(positive, numImagesPerPrompt)]);
    });
  }

  /** Latents without noise. */
  private async denoiseLatents(start: DenoisingStart, encoderHiddenStates: tf.Tensor, scheduler: Scheduler, request: GenerateRequest): Promise<tf.Tensor> {
    const { numInferenceSteps, generator, eta, callbackOnStepEnd, detectAnomaly, signal } = request;
    const { unet } = this;
    const { timesteps } = start;
    const deepCache = this.deepCacheOptions && new DeepCache(timesteps, this.deepCacheOptions);
    return this.denoise(unet, start, {
      scheduler, numInferenceSteps, signal,
      endsWithOriginal: this.endsWithOriginal,
      stepOptions: { generator, eta, dtype: unet.weightDtype },
      predict: this.predictor(encoderHiddenStates, timesteps.length, request, deepCache),
      afterStep: async ({ index, timestep, latents }) => {
        if (detectAnomaly) {
          await checkNumbers(`the latents after step ${index + 1} of ${timesteps.length} (timestep ${timestep})`, latents, helpForNetwork('unet', this));
        }
        const changed = await callbackOnStepEnd?.(this, index, timestep, { latents });
        return changed?.latents;
      },
    }).finally(() => deepCache?.dispose());
  }

  /** What the UNet says of a sample, led by the text. */
  private predictor(text: tf.Tensor, steps: number, request: GenerateRequest, deepCache?: DeepCache): DenoisingOptions['predict'] {
    const { guided, guidanceStop, guidanceScale, guidanceRescale } = request;
    const { time_cond_proj_dim: conditionDim } = this.unet.config; // of models that were distilled with guidance, and are told its scale
    const guidedSteps = guided ? Math.floor(guidanceStop * steps) : 0;
    return (sample, timestep, index) => {
      const timestepCond = conditionDim === null ? undefined : getGuidanceScaleEmbedding([guidanceScale], conditionDim);
      const predict = (sample: tf.Tensor, encoderHiddenStates: tf.Tensor) =>
        this.unet.forward(sample, timestep, { encoderHiddenStates, timestepCond, deepCache });
      return index < guidedSteps
        ? guide(predict(tf.concat([sample, sample]), text), guidanceScale, guidanceRescale)
        : predict(sample, guided ? tf.split(text, 2)[1] : text);
    };
  }
}

/** Noise as strong as the scheduler begins with: `[images, height / vaeScaleFactor, width / vaeScaleFactor, channels]`. */
export function prepareLatents({ latents, latentShape, generator, dtype }: GenerateRequest, { initNoiseSigma }: Scheduler): tf.Tensor {
  return tf.tidy(() => (latents ?? randn(latentShape, generator, dtype)).mul(initNoiseSigma));
}
