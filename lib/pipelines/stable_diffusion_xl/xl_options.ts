import { POOLED_OPTIONS, type PooledOptions } from '../inputs/check_pooled.js';
import { OPTIONS, type GenerateOptions, type GenerateRequest, type OutputType } from '../inputs/generate_options.js';

/** Height and width, or top and left, in pixels. */
export type Pair = readonly [number, number];

/**
 * What pipelines of SDXL take besides what all do. `guidanceScale` is 5 by default, and `promptEmbeds` hold the states of both text
 * encoders.
 */
export interface XLOptions<T extends OutputType = 'image'> extends GenerateOptions<T>, PooledOptions {
  /** What the second text encoder reads, one text or one for each prompt; what the first one does by default. */
  prompt2?: string | string[];
  /** The same of what to avoid. */
  negativePrompt2?: string | string[];
  /** What size the UNet is told that the picture had before it was scaled: `[height, width]`, its own by default. Small ones blur. */
  originalSize?: Pair;
  /** Where the UNet is told that it was cut from a larger picture: `[top, left]`, `[0, 0]` by default. Larger ones move it out of view. */
  cropsCoordsTopLeft?: Pair;
  /** What size the UNet is told that the picture has: `[height, width]`, its own by default. */
  targetSize?: Pair;
  /** The same of what to avoid; as of the prompt by default. */
  negativeOriginalSize?: Pair;
  negativeCropsCoordsTopLeft?: Pair;
  negativeTargetSize?: Pair;
  /** Stops when so large a share of the noise is gone, from 0 to 1 (all of it, the default): for another model to go on. */
  denoisingEnd?: number;
}

/** What pipelines of SDXL that begin from a picture take besides. */
export interface XLImageOptions {
  /**
   * Begins where so large a share of the noise is gone, between 0 and 1: `image` is then what another model made until there, with its
   * noise in it, and `strength` counts nothing.
   */
  denoisingStart?: number;
  /** How beautiful a refiner is told that the picture is, from 1 to 10; 6 by default. */
  aestheticScore?: number;
  /** The same of what to avoid; 2.5 by default. */
  negativeAestheticScore?: number;
}

/** The names of the options. */
export const XL_OPTIONS: readonly string[] = [...OPTIONS, ...POOLED_OPTIONS, ...Object.keys({
  prompt2: true, negativePrompt2: true, originalSize: true, cropsCoordsTopLeft: true, targetSize: true,
  negativeOriginalSize: true, negativeCropsCoordsTopLeft: true, negativeTargetSize: true, denoisingEnd: true,
} satisfies Record<Exclude<keyof XLOptions, keyof GenerateOptions | keyof PooledOptions>, true>)];

export const XL_IMAGE_OPTIONS: readonly string[] = [...XL_OPTIONS, ...Object.keys({
  denoisingStart: true, aestheticScore: true, negativeAestheticScore: true,
} satisfies Record<keyof XLImageOptions, true>)];

/** What `generate` was asked for: checked, with every default filled in. */
export interface XLRequest extends GenerateRequest, PooledOptions {
  prompts2?: string[];
  negativePrompts2: string[];
  /** Whether zeros stand for what to avoid. */
  avoidsZeros: boolean;
  denoisingStart?: number;
  denoisingEnd?: number;
}
