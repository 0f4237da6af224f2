import type * as tf from '@tensorflow/tfjs';
import type { Generator } from '../../core/random.js';
import type { Image } from '../../image/image.js';
import type { Steps, TimestepsOptions } from '../../schedulers/steps.js';
import type { WeightDtype } from '../../weights/weight_reader.js';
import type { Guidance } from '../run/guidance.js';
import type { ImagePromptOptions, ImagePromptRequest } from './image_prompt_options.js';
import type { PerturbedAttentionOptions } from './perturbed_attention.js';
import type { AnyGuidedPipeline } from '../components/registry.js';

/** What `generate` gives: pictures, a tensor of their colours, or latents; see `outputType` of GuidedOptions. */
export type OutputType = 'image' | 'tensor' | 'latent';

/** The options that all pipelines take; the defaults are diffusers'. Tensors that are passed in stay the caller's. */
export interface GuidedOptions<T extends OutputType = 'image'> {
  /** What not to show: one text for all prompts, or one for each. */
  negativePrompt?: string | string[];
  /** How many denoising steps. By default the pipeline's own number, `pipe.defaults.numInferenceSteps`: 50 for most. */
  numInferenceSteps?: number;
  /** The timesteps themselves instead of their number, in falling order; for schedulers that take such a list. */
  timesteps?: readonly number[];
  /** The noise levels of the steps instead of their number; for EulerDiscreteScheduler with the final one, as in `[14.6, 3.2, 0.9, 0]`. */
  sigmas?: readonly number[];
  /**
   * How closely to follow the prompt; 1 or less: without guidance, at half the work. By default the pipeline's own number,
   * `pipe.defaults.guidanceScale`: 7.5 for most.
   */
  guidanceScale?: number;
  /** The share of the steps, from 0 to 1, after which nothing guides any more, at half the work; 1 (it guides to the end) by default. */
  guidanceStop?: number;
  /** Height of the pictures in pixels; by default what the model was trained on. */
  height?: number;
  /** Width of the pictures in pixels; by default what the model was trained on. */
  width?: number;
  /** How many images to make of each prompt, 1 by default; those of one prompt follow each other. */
  numImagesPerPrompt?: number;
  /** The source of the noise: one generator for all images, or one for each. By default the noise is different each time. */
  generator?: Generator | Generator[];
  /** Noise to begin with, instead of drawing it: `[images, height / vaeScaleFactor, width / vaeScaleFactor, channels]`. */
  latents?: tf.Tensor;
  /** Instead of a prompt: `[prompts, tokens, features]`. */
  promptEmbeds?: tf.Tensor;
  /** Instead of a negative prompt; shaped like `promptEmbeds`. */
  negativePromptEmbeds?: tf.Tensor;
  /** How many of the text encoder's last layers to leave out for the prompt; 0 by default. */
  clipSkip?: number;
  /** `image` (default): RGB; `tensor`: `[images, height, width, 3]` within [0, 1]; `latent`: what the VAE would decode, scaled. */
  outputType?: T;
  /** Called after each step. The latents are lent for the call; latents that it returns are taken over. */
  callbackOnStepEnd?: StepCallback;
  /**
   * Whether to throw a NotANumberError as soon as the encoded text, the latents after a step, or the picture hold NaN. Each check waits for
   * the device, so use it only to find the cause of a black picture. Without it there is a warning for a picture of NaN, once for each
   * pipeline. Named as torch's set_detect_anomaly.
   */
  detectAnomaly?: boolean;
  /** Ends the work within one step; `generate` then rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * What to do if this pipeline is at work already, or its networks are being changed: `throw` (default), or `wait` until earlier calls are
   * done, as in a server. `signal` ends the waiting. A call with `wait` that is awaited in a callback of another call never ends.
   */
  whenBusy?: 'throw' | 'wait';
}

/** What `crossAttentionKwargs` and `jointAttentionKwargs` hold. */
export interface LoraKwargs {
  /** Multiplies the strength of all active LoRAs for this call; 1 by default. */
  scale?: number;
}

/** Options of `generate` where a UNet denoises. */
export interface GenerateOptions<T extends OutputType = 'image'> extends GuidedOptions<T>, ImagePromptOptions, PerturbedAttentionOptions {
  /** How far to correct overexposure by guidance, from 0 (default) to 1 (arXiv:2305.08891). */
  guidanceRescale?: number;
  /** `{ scale }` multiplies the strength of all active LoRAs for this call. */
  crossAttentionKwargs?: LoraKwargs;
  /**
   * DDIM: how much noise each step adds. TCD: how much randomness each step has. From 0 (default) to 1; other schedulers ignore it.
   */
  eta?: number;
}

/** The names of the options that all take. */
export const GUIDED_OPTIONS = Object.keys({
  negativePrompt: true, numInferenceSteps: true, timesteps: true, sigmas: true, guidanceScale: true, guidanceStop: true,
  height: true, width: true, numImagesPerPrompt: true, generator: true, latents: true, promptEmbeds: true, negativePromptEmbeds: true,
  clipSkip: true, outputType: true, callbackOnStepEnd: true, detectAnomaly: true, signal: true, whenBusy: true,
} satisfies Record<keyof GuidedOptions<OutputType>, true>);

/** The names of the options. */
export const OPTIONS = [...GUIDED_OPTIONS, ...Object.keys({
  guidanceRescale: true, crossAttentionKwargs: true, eta: true, ipAdapterImage: true, ipAdapterImageEmbeds: true, ipAdapterMasks: true,
  pagScale: true, pagAdaptiveScale: true, pagAppliedLayers: true,
} satisfies Record<Exclude<keyof GenerateOptions<OutputType>, keyof GuidedOptions>, true>)];

/** Those of a pipeline whose size is a picture's, of those that take any. */
export function withoutSize(options: readonly string[]): string[] {
  return options.filter(option => option !== 'height' && option !== 'width');
}

/** Those of a pipeline whose size and latents are a picture's, of those that make them of nothing. */
export function img2ImgOptions(options: readonly string[]): string[] {
  return [...withoutSize(options).filter(option => option !== 'latents'), 'image', 'strength'];
}

/**
 * Called after each step with its index, its timestep and the latents, which are lent for the call. Latents that it returns take the place
 * of the step's. `pipe.interrupt = true` ends the run with that step. Where the pipeline runs in a worker, `pipe` is the one that
 * createWorkerPipeline gave, whose methods give promises.
 */
export type StepCallback = (
  pipe: AnyGuidedPipeline, step: number, timestep: number, state: StepState,
) => { latents?: tf.Tensor } | void | Promise<{ latents?: tf.Tensor } | void>;

/** What a callback is told of a step. */
export interface StepState {
  /** What it has come to: lent. */
  latents: tf.Tensor;
  /** How many steps the run has: more than `numInferenceSteps` where a scheduler takes some twice, fewer where it begins from a picture. */
  numTimesteps: number;
}

/** What `generate` gives: images, or a tensor that is then the caller's. */
export interface GenerateOutput<T extends OutputType = 'image'> {
  /** One for each image of each prompt: those of the first prompt, then those of the second. */
  images: T extends 'image' ? Image[] : tf.Tensor4D;
  /** For each image whether the safetyChecker found it not safe for work, and made it black; absent without a safetyChecker. */
  nsfwContentDetected?: boolean[];
}

/** What `generate` was asked for: checked, with every default filled in. */
export interface GenerateRequest {
  prompts?: string[];
  promptEmbeds?: tf.Tensor;
  negativePrompts: string[];
  negativePromptEmbeds?: tf.Tensor;
  /** Numbers that a UNet is told besides, for what to make and for what to avoid. */
  timeIds?: { wanted: readonly number[]; avoided: readonly number[] };
  /** The class of each sample, or of all, where a UNet is told that. */
  classLabels?: readonly number[];
  /** Pictures that lead besides the texts. */
  imagePrompts?: ImagePromptRequest;
  numImagesPerPrompt: number;
  /** For the scheduler. */
  steps: Steps;
  timestepsOptions?: TimestepsOptions;
  /** How many those are. */
  numInferenceSteps: number;
  guidanceScale: number;
  guidanceStop: number;
  /** Whether to guide away from what to avoid. */
  guided: boolean;
  /** How to guide: the networks see everything as often as it says. */
  guidance: Guidance;
  guidanceRescale: number;
  clipSkip: number;
  /** How many times as strong LoRAs are. */
  loraScale: number;
  eta: number;
  /** `[images, height, width, channels]` of the latents. */
  latentShape: [number, number, number, number];
  latents?: tf.Tensor;
  generator?: Generator | Generator[];
  /** What noise is drawn in. */
  dtype: WeightDtype;
  /** How much of a picture to give up, where one is begun from. */
  strength?: number;
  outputType: OutputType;
  detectAnomaly: boolean;
  callbackOnStepEnd?: StepCallback;
  signal?: AbortSignal;
  whenBusy: 'throw' | 'wait';
}
