import { POOLED_OPTIONS, type PooledOptions } from '../inputs/check_pooled.js';
import { OPTIONS, type GenerateOptions, type GenerateRequest, type OutputType } from '../inputs/generate_options.js';

/** Height and width, or top and left, in pixels. */
export type Pair = readonly [number, number];

/**
 * The options of SDXL's pipelines. `promptEmbeds` hold the states of both text encoders.
 */
export interface XLOptions<T extends OutputType = 'image'> extends GenerateOptions<T>, PooledOptions {
  /** How closely to follow the prompt: 5 by default, and 7.5 for inpainting; 1 or less: without guidance, at half the work. */
  guidanceScale?: number;
  /** The prompt for the second text encoder, one text or one for each prompt; the same as for the first by default. */
  prompt2?: string | string[];
  /** The negative prompt for the second text encoder; the same as for the first by default. */
  negativePrompt2?: string | string[];
  /** The size before scaling that the UNet is told: `[height, width]` in pixels, the picture's own by default. A small one blurs. */
  originalSize?: Pair;
  /**
   * The place in a larger picture from which the UNet is told that this one was cut: `[top, left]` in pixels, `[0, 0]` by default. Larger
   * numbers move what is shown out of view.
   */
  cropsCoordsTopLeft?: Pair;
  /** The size that the UNet is told: `[height, width]` in pixels, the picture's own by default. */
  targetSize?: Pair;
  /** `originalSize` for the negative prompt; the same by default. */
  negativeOriginalSize?: Pair;
  /**
   * `cropsCoordsTopLeft` for the negative prompt. By default the same, but `[0, 0]` with an aesthetic score, and for pictures made of noise
   * with `negativeOriginalSize` or `negativeTargetSize`.
   */
  negativeCropsCoordsTopLeft?: Pair;
  /** `targetSize` for the negative prompt; the same by default. */
  negativeTargetSize?: Pair;
  /** The share of the noise, from 0 to 1, after whose removal to stop, so that another model goes on; 1 (all of it) by default. */
  denoisingEnd?: number;
}

/** Further options of SDXL's pipelines that begin from a picture. */
export interface XLImageOptions {
  /**
   * The share of the noise, between 0 and 1, that another model has removed already: `image` is then what that model made, with the noise
   * that is left, and `strength` has no effect.
   */
  denoisingStart?: number;
  /** The aesthetic score of the picture that a refiner is told, from 1 to 10; 6 by default. */
  aestheticScore?: number;
  /** `aestheticScore` for the negative prompt; 2.5 by default. */
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
