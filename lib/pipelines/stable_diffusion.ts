import * as tf from '@tensorflow/tfjs';
import { randn, type Generator } from '../core/random.js';
import { denormalize, Image } from '../image/image.js';
import type { AutoencoderKL } from '../models/autoencoder_kl.js';
import type { CLIPTextModel } from '../models/clip_text_model.js';
import type { UNet2DConditionModel } from '../models/unet_2d_condition_model.js';
import type { Scheduler } from '../schedulers/scheduler.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { checkGenerateOptions, type GenerateRequest } from './check_generate_options.js';
import { DiffusionPipeline } from './diffusion_pipeline.js';
import { encodePrompt, repeatEach } from './encode_prompt.js';
import { guide } from './guidance.js';
import { startProgressBar } from './progress_bar.js';

export type OutputType = 'image' | 'tensor' | 'latent';

export interface StableDiffusionComponents {
  vae: AutoencoderKL;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
}

/** Options of `generate`; the defaults are diffusers'. Tensors that are passed in stay the caller's. */
export interface GenerateOptions<T extends OutputType = OutputType> {
  /** What not to show: one text for all prompts, or one for each. */
  negativePrompt?: string | string[];
  /** 50 by default. */
  numInferenceSteps?: number;
  /** How closely to follow the prompt, 7.5 by default; 1 or less: without guidance, at half the work. */
  guidanceScale?: number;
  /** Pixels; by default what the UNet was trained on. */
  height?: number;
  width?: number;
  /** 1 by default; the images of one prompt come side by side. */
  numImagesPerPrompt?: number;
  /** Where the noise comes from: one for all images, or one for each. By default a new one each time. */
  generator?: Generator | Generator[];
  /** Noise to begin with, instead of drawing it: `[images, height / vaeScaleFactor, width / vaeScaleFactor, channels]`. */
  latents?: tf.Tensor;
  /** Instead of a prompt: `[prompts, tokens, features]`. */
  promptEmbeds?: tf.Tensor;
  /** Instead of a negative prompt, shaped like the prompt's. */
  negativePromptEmbeds?: tf.Tensor;
  /** From 0 (default) to 1: how far guidance is kept from overexposing (arXiv:2305.08891). */
  guidanceRescale?: number;
  /** How many of the text encoder's last layers to leave out for the prompt; 0 by default. */
  clipSkip?: number;
  /** Noise that DDIM adds, from 0 (default) to 1; the other schedulers ignore it. */
  eta?: number;
  /** `image` (default): RGB; `tensor`: `[images, height, width, 3]` within [0, 1]; `latent`: what the VAE would decode, scaled. */
  outputType?: T;
  /** After each step. The latents are lent for the call; those returned instead are taken over. */
  callbackOnStepEnd?: StepCallback;
  /** Ends the work within one step; `generate` then rejects with the signal's reason. */
  signal?: AbortSignal;
}

export type StepCallback = (
  pipe: StableDiffusionPipeline, step: number, timestep: number, state: { latents: tf.Tensor },
) => { latents?: tf.Tensor } | void | Promise<{ latents?: tf.Tensor } | void>;

/** What `generate` gives: images, or a tensor that is then the caller's. */
export interface GenerateOutput<T extends OutputType = 'image'> {
  images: T extends 'image' ? Image[] : tf.Tensor4D;
}

/**
 * Text to image by latent diffusion (arXiv:2112.10752).
 * Equals diffusers' StableDiffusionPipeline without safety checker.
 */
export class StableDiffusionPipeline extends DiffusionPipeline implements StableDiffusionComponents {
  vae: AutoencoderKL;
  textEncoder: CLIPTextModel;
  tokenizer: CLIPTokenizer;
  unet: UNet2DConditionModel;
  scheduler: Scheduler;
  /** Set during `generate` (by a callback), skips the steps that are left. */
  interrupt = false;

  constructor({ vae, textEncoder, tokenizer, unet, scheduler }: StableDiffusionComponents) {
    super();
    this.vae = vae;
    this.textEncoder = textEncoder;
    this.tokenizer = tokenizer;
    this.unet = unet;
    this.scheduler = scheduler;
    correctConfig(scheduler);
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
    const request = checkGenerateOptions(this, prompt, options);
    return this.exclusively(async () => {
      request.signal?.throwIfAborted();
      this.scheduler.setTimesteps(request.numInferenceSteps);
      const encoderHiddenStates = this.encodePrompts(request);
      try {
        const latents = await this.denoise(this.prepareLatents(request), encoderHiddenStates, request);
        return { images: await this.toOutput(latents, request.outputType) } as GenerateOutput<T>;
      } finally {
        encoderHiddenStates.dispose();
        this.scheduler.dispose();
      }
    });
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

  /** Noise as strong as the scheduler begins with: `[images, height / vaeScaleFactor, width / vaeScaleFactor, channels]`. */
  private prepareLatents({ latents, latentShape, generator }: GenerateRequest): tf.Tensor {
    return tf.tidy(() => (latents ?? randn(latentShape, generator)).mul(this.scheduler.initNoiseSigma));
  }

  /** The loop: noisy latents in (taken over), denoised latents out. */
  private async denoise(latents: tf.Tensor, encoderHiddenStates: tf.Tensor, request: GenerateRequest): Promise<tf.Tensor> {
    const { numInferenceSteps, guided, guidanceScale, guidanceRescale, generator, eta, callbackOnStepEnd, signal } = request;
    const { unet, scheduler } = this;
    const replaceLatents = (next: tf.Tensor) => {
      if (next !== latents) latents.dispose();
      latents = next;
    };
    const bar = await startProgressBar(numInferenceSteps, this.progressBarConfig);
    this.interrupt = false;
    try {
      for (const [i, t] of scheduler.timesteps.entries()) {
        if (this.interrupt) break;
        replaceLatents(tf.tidy(() => {
          const input = scheduler.scaleModelInput(guided ? tf.concat([latents, latents]) : latents, t);
          const output = unet.forward(input, t, { encoderHiddenStates });
          const prediction = guided ? guide(output, guidanceScale, guidanceRescale) : output;
          return scheduler.step(prediction, t, latents, { generator, eta }).prevSample;
        }));
        const changed = await callbackOnStepEnd?.(this, i, t, { latents });
        if (changed?.latents) replaceLatents(changed.latents);
        bar.update(Math.round((i + 1) * numInferenceSteps / scheduler.timesteps.length)); // some schedulers take a step twice
        await nextTask();
        signal?.throwIfAborted();
      }
      return latents;
    } catch (error) {
      latents.dispose();
      throw error;
    } finally {
      bar.stop();
    }
  }

  /** Latents (taken over) -> what was asked for. */
  private async toOutput(latents: tf.Tensor, outputType: OutputType): Promise<Image[] | tf.Tensor> {
    if (outputType === 'latent') return latents;
    let pixels: tf.Tensor;
    try {
      pixels = tf.tidy(() => denormalize(this.vae.decode(latents.div(this.vae.config.scaling_factor))));
    } finally {
      latents.dispose();
    }
    return outputType === 'tensor' ? pixels : Image.fromTensor(pixels).finally(() => pixels.dispose());
  }
}

/** Sets right what old checkpoints' configs say otherwise than their training was, as diffusers does. */
function correctConfig(scheduler: Scheduler): void {
  const { steps_offset = 1, clip_sample = false } = scheduler.config as { steps_offset?: number; clip_sample?: boolean };
  if (steps_offset === 1 && !clip_sample) return;
  console.warn(`scheduler config: steps_offset ${steps_offset} and clip_sample ${clip_sample} are outdated, taking 1 and false`);
  const correction = { ...(steps_offset !== 1 && { steps_offset: 1 }), ...(clip_sample && { clip_sample: false }) };
  Object.assign(scheduler, { config: Object.freeze({ ...scheduler.config, ...correction }) });
}

/** Lets timers, events and signals have their turn, in Node and in a page. */
function nextTask(): Promise<void> {
  return new Promise(resolve => { setTimeout(resolve); });
}
