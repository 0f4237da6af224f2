import * as tf from '@tensorflow/tfjs';
import { randn } from '../core/random.js';
import { denormalize, Image } from '../image/image.js';
import { getGuidanceScaleEmbedding } from '../layers/timestep_embedding.js';
import type { Autoencoder } from '../models/autoencoder.js';
import type { CLIPTextModel } from '../models/clip_text_model.js';
import { DeepCache } from '../models/deep_cache.js';
import type { UNet2DConditionModel } from '../models/unet_2d_condition_model.js';
import type { Scheduler } from '../schedulers/scheduler.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { AdaptablePipeline } from './adaptable_pipeline.js';
import { checkGenerateOptions, checkOptionNames, OPTIONS, type GenerateRequest } from './check_generate_options.js';
import { correctConfigs } from './correct_configs.js';
import { describeImages } from './describe_images.js';
import { encodePrompt, repeatEach } from './encode_prompt.js';
import type { GenerateOptions, GenerateOutput, OutputType } from './generate_options.js';
import { guide } from './guidance.js';
import { checkNumbers, countNaN, explainPicture, helpForNetwork, NotANumberError } from './not_a_number.js';
import { explainOutOfMemory } from './out_of_memory.js';
import { startProgressBar } from './progress_bar.js';

export interface StableDiffusionComponents {
  vae: Autoencoder;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

/** Where denoising begins, and what it is led by besides the text. */
export interface DenoisingStart {
  /** Noisy latents, as strong as the first timestep has them. */
  latents: tf.Tensor;
  timesteps: readonly number[];
  /** What the UNet sees behind the latents, in more channels. */
  condition?: tf.Tensor;
  /** Latents that stay where `mask` is 0, and the noise that they have until the end. */
  known?: { original: tf.Tensor; noise: tf.Tensor; mask: tf.Tensor };
}

/**
 * Text to image by latent diffusion (arXiv:2112.10752).
 * Equals diffusers' StableDiffusionPipeline without safety checker.
 */
export class StableDiffusionPipeline extends AdaptablePipeline implements StableDiffusionComponents {
  vae: Autoencoder;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
  /** Set during `generate` (by a callback), skips the steps that are left. */
  interrupt = false;
  /** Whether the result is what the last step predicts without noise, whatever noise it adds again. */
  protected readonly endsWithOriginal: boolean = false;
  private warnedOfNaN = false;

  constructor({ vae, textEncoder, tokenizer, unet, scheduler }: StableDiffusionComponents) {
    super();
    this.vae = vae;
    this.textEncoder = textEncoder;
    this.tokenizer = tokenizer;
    this.unet = unet;
    this.scheduler = scheduler;
    this.correctConfigs();
  }

  /** Sets right what old configs say. */
  protected correctConfigs(): void {
    correctConfigs(this);
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

  /** Pixels per latent, along each side. */
  get vaeScaleFactor(): number {
    return this.vae.scaleFactor;
  }

  /**
   * Makes images of prompts.
   * @throws TypeError or RangeError for options that do not fit, before any work; the signal's reason when aborted.
   */
  async generate<T extends OutputType = 'image'>(
    prompt?: string | string[], options: GenerateOptions<T> = {},
  ): Promise<GenerateOutput<T>> {
    checkOptionNames(options, OPTIONS);
    const request = checkGenerateOptions(this, prompt, options);
    return this.run(request, scheduler => ({ latents: prepareLatents(request, scheduler), timesteps: scheduler.timesteps }));
  }

  /** All of `generate`, but for where the denoising starts: asked with the run's scheduler when its timesteps are set. */
  protected async run<T extends OutputType>(request: GenerateRequest, start: (scheduler: Scheduler) => DenoisingStart): Promise<GenerateOutput<T>> {
    return this.runningWithLoras(request.loraScale, async () => {
      request.signal?.throwIfAborted();
      this.scheduler.setTimesteps(request.steps, request.stepsOptions); // as in diffusers, for all to see
      const scheduler = this.scheduler.clone(); // other pipelines may be at work with the same one
      scheduler.setTimesteps(request.steps, request.stepsOptions);
      this.makeReady(this.textEncoder);
      const encoderHiddenStates = this.encodePrompts(request);
      try {
        if (request.detectAnomaly) await checkNumbers('the encoded text', encoderHiddenStates, helpForNetwork('textEncoder', this));
        this.makeReady(this.vae); // some starts encode pictures
        if (request.outputType !== 'latent') this.recordDecoder(request.latentShape);
        const latents = await this.denoise(start(scheduler), encoderHiddenStates, scheduler, request);
        this.makeReady(this.vae);
        return { images: await this.toOutput(latents, request) } as GenerateOutput<T>;
      } finally {
        encoderHiddenStates.dispose();
        scheduler.dispose();
      }
    }).catch(error => { throw explainOutOfMemory(error, this, request.latentShape); });
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

  /** The loop: takes its start over, gives denoised latents. */
  private async denoise(start: DenoisingStart, encoderHiddenStates: tf.Tensor, scheduler: Scheduler, request: GenerateRequest): Promise<tf.Tensor> {
    const { numInferenceSteps, guided, guidanceStop, guidanceScale, guidanceRescale, generator, eta, callbackOnStepEnd, detectAnomaly, signal } = request;
    const { unet } = this;
    const { time_cond_proj_dim: conditionDim } = unet.config; // of models that were distilled with guidance, and are told its scale
    const { timesteps, condition, known } = start;
    let { latents } = start;
    const replaceLatents = (next: tf.Tensor) => {
      if (next !== latents) latents.dispose();
      latents = next;
    };
    const total = Math.min(numInferenceSteps, Math.ceil(timesteps.length / scheduler.order)); // some schedulers take a step twice
    const bar = await startProgressBar(total, this.progressBarConfig);
    const deepCache = this.deepCacheOptions && new DeepCache(timesteps, this.deepCacheOptions);
    const guidedSteps = guided ? Math.floor(guidanceStop * timesteps.length) : 0;
    this.interrupt = false;
    try {
      for (const [i, t] of timesteps.entries()) {
        if (this.interrupt) break;
        this.makeReady(unet);
        replaceLatents(tf.tidy(() => {
          const input = scheduler.scaleModelInput(latents, t);
          const sample = condition ? tf.concat([input, condition], -1) : input;
          const timestepCond = conditionDim === null ? undefined : getGuidanceScaleEmbedding([guidanceScale], conditionDim);
          const predict = (input: tf.Tensor, text: tf.Tensor) => unet.forward(input, t, { encoderHiddenStates: text, timestepCond, deepCache });
          const prediction = i < guidedSteps
            ? guide(predict(tf.concat([sample, sample]), encoderHiddenStates), guidanceScale, guidanceRescale)
            : predict(sample, guided ? tf.split(encoderHiddenStates, 2)[1] : encoderHiddenStates);
          const { prevSample, predOriginalSample } = scheduler.step(prediction, t, latents, { generator, eta, dtype: unet.weightDtype });
          if (this.endsWithOriginal && predOriginalSample && i === timesteps.length - 1) return predOriginalSample;
          return known ? putBack(known, prevSample, scheduler, timesteps[i + 1]) : prevSample;
        }));
        if (i === 0) await this.followCompilation();
        if (detectAnomaly) await checkNumbers(`the latents after step ${i + 1} of ${timesteps.length} (timestep ${t})`, latents, helpForNetwork('unet', this));
        const changed = await callbackOnStepEnd?.(this, i, t, { latents });
        if (changed?.latents) replaceLatents(changed.latents);
        bar.update(Math.round((i + 1) * total / timesteps.length));
        await nextTask();
        signal?.throwIfAborted();
      }
      return latents;
    } catch (error) {
      latents.dispose();
      throw error;
    } finally {
      tf.dispose([condition ?? [], known ?? []]);
      deepCache?.dispose();
      bar.stop();
    }
  }

  /** Latents (taken over) -> what was asked for. */
  private async toOutput(latents: tf.Tensor, request: GenerateRequest): Promise<Image[] | tf.Tensor> {
    const { outputType, detectAnomaly } = request;
    if (outputType === 'latent') return latents;
    let pixels: tf.Tensor | undefined;
    try {
      pixels = tf.tidy(() => denormalize(this.vae.decode(latents.div(this.vae.config.scaling_factor))));
      if (detectAnomaly) {
        const count = await countNaN(pixels);
        if (count > 0) throw new NotANumberError(await explainPicture(count, latents, this));
      }
      if (outputType === 'tensor') return pixels.clone();
      let count = 0;
      const images = await Image.fromTensor(pixels, found => { count = found; });
      if (count > 0 && !this.warnedOfNaN) {
        this.warnedOfNaN = true;
        console.warn(await explainPicture(count, latents, this));
      }
      return describeImages(images, request, this.scheduler);
    } finally {
      tf.dispose([latents, pixels ?? []]);
    }
  }
}

/** Noise as strong as the scheduler begins with: `[images, height / vaeScaleFactor, width / vaeScaleFactor, channels]`. */
export function prepareLatents({ latents, latentShape, generator, dtype }: GenerateRequest, { initNoiseSigma }: Scheduler): tf.Tensor {
  return tf.tidy(() => (latents ?? randn(latentShape, generator, dtype)).mul(initNoiseSigma));
}

/** `latents` under the mask, and around it what is known, as noisy as it is at `timestep`, or at the end without noise. */
function putBack({ original, noise, mask }: Required<DenoisingStart>['known'], latents: tf.Tensor, scheduler: Scheduler, timestep?: number): tf.Tensor {
  const around = timestep === undefined ? original : scheduler.addNoise(original, noise, timestep);
  return tf.add(around.mul(tf.sub(1, mask)), latents.mul(mask));
}

/** Lets timers, events and signals have their turn, in Node and in a page, without a timer's own wait: milliseconds in every step. */
function nextTask(): Promise<void> {
  return new Promise(resolve => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
