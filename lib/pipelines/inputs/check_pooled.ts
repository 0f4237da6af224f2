import type * as tf from '@tensorflow/tfjs';
import { checkTensor } from '../../core/check_tensor.js';

/** One vector for each text, to be given together with `promptEmbeds`. */
export interface PooledOptions {
  /** With `promptEmbeds`: each prompt as one vector, `[prompts, features]`. */
  pooledPromptEmbeds?: tf.Tensor;
  /** With `negativePromptEmbeds`: each negative prompt as one vector, `[prompts, features]`. */
  negativePooledPromptEmbeds?: tf.Tensor;
}

/** The names of these options. */
export const POOLED_OPTIONS = Object.keys({
  pooledPromptEmbeds: true, negativePooledPromptEmbeds: true,
} satisfies Record<keyof PooledOptions, true>);

/** Tokens that are given, and the texts that would be read instead. */
interface Given extends PooledOptions {
  promptEmbeds?: tf.Tensor;
  negativePromptEmbeds?: tf.Tensor;
}

/** @throws TypeError, RangeError unless there is, beside the tokens of so many prompts, each as a whole. */
export function checkPooled(options: Given, prompts: number, features: number): void {
  const { promptEmbeds, pooledPromptEmbeds, negativePromptEmbeds, negativePooledPromptEmbeds } = options;
  if (promptEmbeds) requirePooled({ promptEmbeds, pooledPromptEmbeds });
  if (negativePromptEmbeds) requirePooled({ negativePromptEmbeds, negativePooledPromptEmbeds });
  for (const [name, pooled] of Object.entries({ pooledPromptEmbeds, negativePooledPromptEmbeds })) {
    if (pooled !== undefined) checkTensor(name, pooled, [prompts, features]);
  }
}

/** @throws TypeError where a text and what it would become are both given, as in `{ prompt2, promptEmbeds }`. */
export function refuseBoth(options: Record<string, unknown>): void {
  const [[text, given], [embeds, embedded]] = Object.entries(options);
  if (given !== undefined && embedded) throw new TypeError(`${text}: got both ${text} and ${embeds}, takes one of the two`);
}

function requirePooled(options: Record<string, unknown>): void {
  const [[embeds], [pooled, given]] = Object.entries(options);
  if (!given) throw new TypeError(`${pooled}: got undefined, takes each text as a whole, [prompts, features], where there are ${embeds}`);
}
