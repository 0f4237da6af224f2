import { POOLED_OPTIONS, type PooledOptions } from '../inputs/check_pooled.js';
import { GUIDED_OPTIONS, type GenerateRequest, type GuidedOptions, type LoraKwargs, type OutputType } from '../inputs/generate_options.js';
import type { Guidance } from '../run/guidance.js';

/**
 * What pipelines of Stable Diffusion 3 take besides what all do. `promptEmbeds` hold the states of all text encoders: CLIP's tokens, and
 * behind them T5's.
 */
export interface SD3Options<T extends OutputType = 'image'> extends GuidedOptions<T>, PooledOptions {
  /** What the second text encoder reads, one text or one for each prompt; what the first one does by default. */
  prompt2?: string | string[];
  /** The same of the third one, T5. */
  prompt3?: string | string[];
  /** What to avoid, for the second text encoder; as for the first by default. */
  negativePrompt2?: string | string[];
  negativePrompt3?: string | string[];
  /** How many tokens T5 reads of a prompt, from 1 to 512; 256 by default. */
  maxSequenceLength?: number;
  jointAttentionKwargs?: LoraKwargs;
  /** How far timesteps are shifted, where the scheduler has use_dynamic_shifting; by the size of the picture by default. */
  mu?: number;
}

/** Away from what the transformer says without some of its layers, as Stable Diffusion 3.5 medium gains from. */
export interface SkipLayerOptions {
  /** Which layers to leave out, `[7, 8, 9]` for Stable Diffusion 3.5 medium; without it none are. Takes a guidanceScale above 1. */
  skipGuidanceLayers?: readonly number[];
  /** How strongly, 2.8 by default. */
  skipLayerGuidanceScale?: number;
  /** Behind which share of the steps to begin, 0.01 by default. */
  skipLayerGuidanceStart?: number;
  /** Before which share of the steps to end, 0.2 by default. */
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
