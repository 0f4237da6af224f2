import * as tf from '@tensorflow/tfjs';
import type { PromptEncoder } from '../adapters/learned_words.js';
import { resumeDevice, type Device } from '../runtime/devices.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { encodeIds } from './encode_prompt.js';
import { parsePromptWeights } from './prompt_weights.js';

export interface WeightedPromptOptions {
  /** What not to show: one text for all prompts, or one for each. Empty by default. */
  negativePrompt?: string | string[];
  /** How many of the text encoder's last layers to leave out for the prompt; 0 by default. */
  clipSkip?: number;
}

/** What `generate` takes for a prompt and a negative prompt: `[prompts, tokens, features]` each. They are the caller's. */
export interface WeightedPromptEmbeds {
  promptEmbeds: tf.Tensor;
  negativePromptEmbeds: tf.Tensor;
}

interface WeightedTokens {
  ids: number[];
  weights: number[];
}

/**
 * Prompts of any length with weights in them, as in 'a (red:1.3) star, [clouds]': see parsePromptWeights. Use it so:
 *
 *     const embeds = encodeWeightedPrompt(pipe, 'a (red:1.3) star');
 *     const { images } = await pipe.generate(undefined, embeds);
 *
 * What does not fit into the text encoder at once is encoded in chunks, side by side. Weights multiply the hidden states, which are then
 * scaled to their mean before, each prompt by itself, as the community pipeline lpw_stable_diffusion of diffusers does. A prompt that fits and
 * has no weights becomes what `generate` makes of it.
 * @throws RangeError for a list of negative prompts of another length.
 */
export function encodeWeightedPrompt(
  pipe: PromptEncoder & { readonly device?: Device }, prompt: string | string[], { negativePrompt = '', clipSkip = 0 }: WeightedPromptOptions = {},
): WeightedPromptEmbeds {
  const prompts = [prompt].flat();
  const negatives = typeof negativePrompt === 'string' ? prompts.map(() => negativePrompt) : negativePrompt;
  if (negatives.length !== prompts.length) throw new RangeError(`negativePrompt: got a list of ${negatives.length}, takes a text, or a list of ${prompts.length}`);
  if (pipe.device) resumeDevice(pipe.device); // another pipeline may have worked on its own since
  const [positive, negative] = [prompts, negatives].map(texts => texts.map(text => tokenize(pipe.tokenizer, text)));
  const room = pipe.tokenizer.modelMaxLength - 2; // in a chunk, beside its beginning and its end
  const chunks = Math.max(1, ...[...positive, ...negative].map(({ ids }) => Math.ceil(ids.length / room)));
  return tf.tidy(() => ({
    promptEmbeds: embed(pipe, positive, chunks, clipSkip),
    negativePromptEmbeds: embed(pipe, negative, chunks, 0),
  }));
}

function tokenize(tokenizer: CLIPTokenizer, prompt: string): WeightedTokens {
  const tokens: WeightedTokens = { ids: [], weights: [] };
  for (const { text, weight } of parsePromptWeights(prompt)) {
    const [[, ...ids]] = tokenizer.encode(text, { padding: false, truncation: false });
    ids.pop(); // its end, as its beginning, is the chunk's
    tokens.ids.push(...ids);
    tokens.weights.push(...ids.map(() => weight));
  }
  return tokens;
}

/** `[prompts, chunks * tokens, features]` */
function embed({ tokenizer, textEncoder }: PromptEncoder, prompts: WeightedTokens[], chunks: number, clipSkip: number): tf.Tensor {
  const { modelMaxLength: length, bosTokenId, eosTokenId, padTokenId } = tokenizer;
  const room = length - 2;
  const rows = prompts.flatMap(({ ids, weights }) => Array.from({ length: chunks }, (_, i) => {
    const own = ids.slice(i * room, (i + 1) * room);
    const padding = Array<number>(room - own.length);
    return {
      ids: [bosTokenId, ...own, eosTokenId, ...padding.fill(padTokenId)],
      weights: [1, ...weights.slice(i * room, (i + 1) * room), 1, ...padding.fill(1)],
    };
  }));
  const states = encodeIds(textEncoder, rows.map(({ ids }) => ids), clipSkip).reshape([prompts.length, chunks * length, -1]);
  const weights = rows.map(row => row.weights).flat();
  if (weights.every(weight => weight === 1)) return states;
  const weighted = states.mul(tf.tensor(weights, [prompts.length, chunks * length, 1]));
  return weighted.mul(states.mean([1, 2], true).div(weighted.mean([1, 2], true)));
}
