import { POOLED_OPTIONS, type PooledOptions } from '../inputs/check_pooled.js';
import { GUIDED_OPTIONS, type GenerateRequest, type GuidedOptions, type LoraKwargs, type OutputType } from '../inputs/generate_options.js';
import type { Guidance } from '../run/guidance.js';

/**
 * The options of Stable Diffusion 3's pipelines. `promptEmbeds` hold the states of all text encoders: CLIP's tokens, and behind them T5's.
 */
export interface SD3Options<T extends OutputType = 'image'> extends GuidedOptions<T>, PooledOptions {
  /** How many denoising steps: 28 by default, and 50 for image to image and inpainting. */
  numInferenceSteps?: number;
  /** How closely to follow the prompt, 7 by default; 1 or less: without guidance, at half the work. */
  guidanceScale?: number;
  /** The prompt for the second text encoder, one text or one for each prompt; the same as for the first by default. */
  prompt2?: string | string[];
  /** The prompt for the third text encoder, T5; the same as for the first by default. */
  prompt3?: string | string[];
  /** The negative prompt for the second text encoder; the same as for the first by default. */
  negativePrompt2?: string | string[];
  /** The negative prompt for the third text encoder, T5; the same as for the first by default. */
  negativePrompt3?: string | string[];
  /** How many tokens T5 reads of a prompt, from 1 to 512; 256 by default. */
  maxSequenceLength?: number;
  /** `{ scale }` multiplies the strength of all active LoRAs for this call. */
  jointAttentionKwargs?: LoraKwargs;
  /** How far timesteps are shifted, for schedulers with use_dynamic_shifting; by default it follows from the size of the picture. */
  mu?: number;
}

/** Skip-layer guidance: away from what the transformer predicts without some of its layers. It helps Stable Diffusion 3.5 medium. */
export interface SkipLayerOptions {
  /** Which layers to leave out, `[7, 8, 9]` for Stable Diffusion 3.5 medium; none by default. Takes a guidanceScale above 1. */
  skipGuidanceLayers?: readonly number[];
  /** How strongly, 2.8 by default. */
  skipLayerGuidanceScale?: number;
  /** The share of the steps after which it begins, 0.01 by default. */
  skipLayerGuidanceStart?: number;
  /** The share of the steps before which it ends, 0.2 by default. */
  skipLayerGuidanceStop?: number;
}

/** The names of the options. */
export const SD3_OPTIONS: readonly string[] = [...GUIDED_OPTIONS, ...POOLED_OPTIONS, ...Object.keys({
  prompt2: true, prompt3: true, negativePrompt2: true, negativePrompt3: true, maxSequenceLength: true, jointAttentionKwargs: true, mu: true,
} satisfies Record<Exclude<keyof SD3Options, keyof GuidedOptions | keyof PooledOptions>, true>)];

export const SKIP_LAYER_OPTIONS: readonly string[] = Object.keys({
  skipGuidanceLayers: true, skipLayerGuidanceScale: true, skipLayerGuidanceStart: true, skipLayerGuidanceStop: true,
} satisfies Record<keyof SkipLayerOptions, true>);

/** What is said without some layers besides, during some of the steps. */
export interface SkipLayers {
  readonly layers: readonly number[];
  /** Of the predictions that there are anyway, and that one. */
  readonly guidance: Guidance;
  /** Whether at a step, of so many that were asked for. */
  readonly actsAt: (index: number) => boolean;
}

/** What `generate` was asked for: checked, with every default filled in. */
export interface SD3Request extends GenerateRequest, PooledOptions {
  /** What each text encoder reads. */
  allPrompts?: readonly [string[], string[], string[]];
  allNegativePrompts: readonly [string[], string[], string[]];
  maxSequenceLength: number;
  skipLayers?: SkipLayers;
}
