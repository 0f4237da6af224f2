import { checkNumber, show } from '../../core/checks.js';
import { compileRegex, RegexError } from '../../core/python_regex.js';
import type { UNet2DConditionModel } from '../../models/unet_2d_condition_model.js';
import type { PerturbedAttentionGuidance } from '../run/guidance.js';

/**
 * How to guide by perturbed attention (PAG, arXiv:2403.17377): away from what the UNet predicts while some of its self-attentions are
 * switched off.
 */
export interface PerturbedAttentionOptions {
  /** How strongly. 0, the default, is off and costs nothing; 3 is a good start. */
  pagScale?: number;
  /** Subtracted from `pagScale` for each timestep (of 1000) already passed, down to 0; 0 by default. */
  pagAdaptiveScale?: number;
  /**
   * Which self-attentions of the UNet are switched off: a part of their paths, or a regular expression as in Python, such as
   * 'down_blocks.1' or 'up_blocks.(1|2).attentions.0', or a list of these; 'mid' by default.
   */
  pagAppliedLayers?: string | string[];
}

/** The names of these options. */
export const PAG_OPTIONS = Object.keys({
  pagScale: true, pagAdaptiveScale: true, pagAppliedLayers: true,
} satisfies Record<keyof PerturbedAttentionOptions, true>);

/** Timesteps that models are trained on, as diffusers has it for all. */
const TIMESTEPS = 1000;
/** Enough for any pattern that is meant. */
const MATCHING_STEPS = 1e7;

/** How to guide, if so. @throws TypeError, RangeError naming the option that does not fit. */
export function checkPerturbedAttention(
  unet: UNet2DConditionModel, { pagScale = 0, pagAdaptiveScale = 0, pagAppliedLayers = 'mid' }: PerturbedAttentionOptions,
): PerturbedAttentionGuidance | undefined {
  const scale = checkNumber('pagScale', pagScale, 0);
  const fall = checkNumber('pagAdaptiveScale', pagAdaptiveScale, 0);
  const patterns = [pagAppliedLayers].flat();
  const stranger = patterns.find(pattern => typeof pattern !== 'string');
  if (stranger !== undefined) throw new TypeError(`pagAppliedLayers: got ${show(stranger)}, takes a text or a list of texts`);
  if (scale === 0 || patterns.length === 0) return undefined;
  return {
    layers: findLayers([...unet.selfAttentions.keys()], patterns),
    scaleAt: timestep => Math.max(0, scale - fall * (TIMESTEPS - timestep)),
  };
}

/** The paths in which one of the patterns is found, each once. @throws RangeError for a pattern that is found in none, or that is none. */
function findLayers(paths: readonly string[], patterns: readonly string[]): string[] {
  const budget = { steps: MATCHING_STEPS };
  const found = new Set(patterns.flatMap(pattern => {
    try {
      const test = compileRegex(pattern, budget);
      const matching = paths.filter(path => test(path, [...path, ''].map((_, start) => start)));
      if (matching.length > 0) return matching;
    } catch (error) {
      if (!(error instanceof RegexError)) throw error;
      throw new RangeError(`pagAppliedLayers: got ${show(pattern)}, takes a regular expression: ${error.message}`, { cause: error });
    }
    const blocks = new Set(paths.map(path => /^\w+(\.\d+)?/.exec(path)![0]));
    const there = blocks.size > 0 ? `there are some in ${[...blocks].join(', ')}` : 'this unet has none';
    throw new RangeError(`pagAppliedLayers: got ${show(pattern)}, takes what is found in the path of a self-attention: ${there}`);
  }));
  return paths.filter(path => found.has(path));
}
