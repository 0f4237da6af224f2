import * as tf from '@tensorflow/tfjs';
import type { PromptEncoder } from '../adapters/learned_words.js';
import { resumeDevice, type Device } from '../runtime/devices.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { checkTexts } from './inputs/check_generate_options.js';
import { encodeIds, encodeIdsPenultimate, type EncodedWhole } from './inputs/encode_prompt.js';
import type { GuidedPipeline } from './base/guided_pipeline.js';
import { parsePromptWeights } from './prompt_weights.js';
import { checkSequenceLength, joinEncoders } from './stable_diffusion_3/join_encoders.js';
import type { StableDiffusion3Pipeline } from './stable_diffusion_3/stable_diffusion_3.js';
import type { StableDiffusionXLPipeline } from './stable_diffusion_xl/stable_diffusion_xl.js';

/** Options of `encodeWeightedPrompt`. */
export interface WeightedPromptOptions {
  /** What not to show: one text for all prompts, or one for each. Empty by default. */
  negativePrompt?: string | string[];
  /** How many of the text encoder's last layers to leave out for the prompt; 0 by default. */
  clipSkip?: number;
}

/** Options of `encodeWeightedPrompt` for SDXL. Without a negative prompt zeros stand for it, or for some models an empty text. */
export interface XLWeightedPromptOptions extends WeightedPromptOptions {
  /** The prompt for the second text encoder, as many texts as for the first; the same by default. */
  prompt2?: string | string[];
  /** The negative prompt for the second text encoder; the same as for the first by default. */
  negativePrompt2?: string | string[];
}

/** Options of `encodeWeightedPrompt` for Stable Diffusion 3. */
export interface SD3WeightedPromptOptions extends XLWeightedPromptOptions {
  /** The prompt for T5, as many texts as for the first text encoder; the same by default. */
  prompt3?: string | string[];
  /** The negative prompt for T5; the same as for the first text encoder by default. */
  negativePrompt3?: string | string[];
  /** How many tokens T5 reads of a prompt; 256 by default. */
  maxSequenceLength?: number;
}

/** What `generate` takes for a prompt and a negative prompt: `[prompts, tokens, features]` each. They are the caller's. */
export interface WeightedPromptEmbeds {
  /** Of the prompts: `[prompts, tokens, features]`. */
  promptEmbeds: tf.Tensor;
  /** Of the negative prompts, with the same shape. */
  negativePromptEmbeds: tf.Tensor;
}

/** The same for SDXL and Stable Diffusion 3, which take each text as one vector besides. */
export interface XLWeightedPromptEmbeds extends WeightedPromptEmbeds {
  /** Each prompt as one vector: `[prompts, features]`. */
  pooledPromptEmbeds: tf.Tensor;
  /** Each negative prompt as one vector: `[prompts, features]`. */
  negativePooledPromptEmbeds: tf.Tensor;
}

interface WeightedTokens {
  ids: number[];
  weights: number[];
}

interface ChunkedTokens {
  /** Of each prompt: as many tokens as fit at once, and the next. */
  prompts: WeightedTokens[][];
  /** How many each becomes. */
  chunks: number;
}

/** Of a prompt, at most: each is read by itself, and at each step the UNet attends to all. */
const MAX_CHUNKS = 32;

/** Ends a chunk, as in AUTOMATIC1111's web UI. */
const BREAK = /\s*\bBREAK\b\s*/;

/**
 * Prompts of any length with weights in them, as in 'a (red:1.3) star, [clouds]': see parsePromptWeights. Use it so:
 *  const embeds = encodeWeightedPrompt(pipe, 'a (red:1.3) star'); const { images } = await pipe.generate(undefined, embeds);
 *
 * A prompt that does not fit into the text encoder at once is encoded in chunks, which are concatenated; the word `BREAK` begins a new
 * chunk. Weights multiply the hidden states, which are then scaled so that their mean is as before, each prompt by itself, as the community
 * pipeline lpw_stable_diffusion of diffusers does. A prompt that fits and has no weights becomes what `generate` makes of it.
 *
 * For SDXL, both text encoders read the weighted prompt, and the pooled embedding is the second encoder's of the first chunk. For Stable
 * Diffusion 3, CLIP's two encoders read it, and T5 reads the text without its weights. For a pipeline whose family the compiler does not
 * know, as an AutoPipeline makes, the result is what the `generate` of that pipeline takes.
 * @throws RangeError for a list of negative prompts of another length, a prompt of more than 32 chunks, or a maxSequenceLength that
 * `generate` does not take.
 */
export function encodeWeightedPrompt(
  pipe: StableDiffusion3Pipeline, prompt: string | string[], options?: SD3WeightedPromptOptions,
): XLWeightedPromptEmbeds;
export function encodeWeightedPrompt(
  pipe: StableDiffusionXLPipeline, prompt: string | string[], options?: XLWeightedPromptOptions,
): XLWeightedPromptEmbeds;
export function encodeWeightedPrompt(
  pipe: GuidedPipeline | (PromptEncoder & { readonly device?: Device }), prompt: string | string[], options?: WeightedPromptOptions,
): WeightedPromptEmbeds;
export function encodeWeightedPrompt(
  pipe: (PromptEncoder & { readonly device?: Device }) | GuidedPipeline, prompt: string | string[],
  options: SD3WeightedPromptOptions = {},
): WeightedPromptEmbeds {
  const { clipSkip = 0, negativePrompt = '' } = options;
  const prompts = checkTexts('prompt', prompt);
  const count = prompts.length;
  const avoided = checkTexts('negativePrompt', negativePrompt, count);
  if (pipe.device) resumeDevice(pipe.device); // another pipeline may have worked on its own since
  if (!isXL(pipe) && !isSD3(pipe)) {
    const encoder = 'promptEncoders' in pipe ? pipe.promptEncoders[0] : pipe;
    const [positive, negative] = tokenizeAll(encoder, [prompts, avoided]);
    return tf.tidy(() => ({
      promptEmbeds: embed(encoder, positive, ids => encodeIds(encoder.textEncoder, ids, clipSkip)),
      negativePromptEmbeds: embed(encoder, negative, ids => encodeIds(encoder.textEncoder, ids, 0)),
    }));
  }
  const { prompt2, negativePrompt2, prompt3, negativePrompt3 } = options; // an empty one is none, as in `generate`
  const maxSequenceLength = checkSequenceLength(options.maxSequenceLength);
  const second = [checkTexts('prompt2', prompt2 || prompt, count), checkTexts('negativePrompt2', negativePrompt2 || negativePrompt, count)];
  const third = [checkTexts('prompt3', prompt3 || prompt, count), checkTexts('negativePrompt3', negativePrompt3 || negativePrompt, count)];
  const texts = pipe.promptEncoders.length > 1 ? [[prompts, avoided], second] : [[prompts, avoided]];
  const tokens = pipe.promptEncoders.map((encoder, i) => tokenizeAll(encoder, texts[i]));
  const avoidsZeros = isXL(pipe) && pipe.forceZerosForEmptyPrompt
    && options.negativePrompt === undefined && options.negativePrompt2 === undefined;
  return tf.tidy(() => {
    const [positive, negative] = [clipSkip, 0].map((skip, which) => {
      const each = embedByEach(pipe.promptEncoders, tokens.map(each => each[which]), skip);
      if (isSD3(pipe)) return joinEncoders(pipe, each, third[which].map(withoutWeights), maxSequenceLength);
      return { states: tf.concat(each.map(({ states }) => states), -1), pooled: each.at(-1)!.pooled };
    });
    const orZeros = (x: tf.Tensor) => avoidsZeros ? tf.zerosLike(x) : x;
    return {
      promptEmbeds: positive.states, negativePromptEmbeds: orZeros(negative.states),
      pooledPromptEmbeds: positive.pooled, negativePooledPromptEmbeds: orZeros(negative.pooled),
    };
  });
}

/**
 * As encodeWeightedPrompt, of a pipeline of any family: what its `generate` takes. A model that is told how strong guidance is has no use
 * for what to avoid.
 */
export function weightedPromptFor(
  pipe: GuidedPipeline, prompt: string | string[], options?: XLWeightedPromptOptions,
): Partial<XLWeightedPromptEmbeds> {
  const { negativePromptEmbeds, ...embeds } = encodeWeightedPrompt(pipe, prompt, options);
  if (pipe.takesNegativePrompt) return { ...embeds, negativePromptEmbeds };
  negativePromptEmbeds.dispose();
  return embeds;
}

function isXL(pipe: object): pipe is StableDiffusionXLPipeline {
  return 'textEncoder2' in pipe && 'unet' in pipe;
}

function isSD3(pipe: object): pipe is StableDiffusion3Pipeline {
  return 'textEncoder3' in pipe;
}

/** A prompt as it reads without weights and the ends of chunks. */
function withoutWeights(prompt: string): string {
  return parsePromptWeights(prompt).map(({ text }) => text).join('').replaceAll(new RegExp(BREAK, 'g'), ' ');
}

/** Texts in as many chunks as the longest of all needs. @throws RangeError for too many. */
function tokenizeAll({ tokenizer }: PromptEncoder, texts: string[][]): ChunkedTokens[] {
  const tokens = texts.map(each => each.map(text => tokenize(tokenizer, text)));
  const chunks = Math.max(...tokens.flat().map(({ length }) => length));
  const { modelMaxLength: length } = tokenizer;
  if (chunks > MAX_CHUNKS) throw new RangeError(`prompt: got ${chunks} chunks of ${length} tokens, takes up to ${MAX_CHUNKS}`);
  return tokens.map(prompts => ({ prompts, chunks }));
}

/** A text in chunks, at least one. */
function tokenize(tokenizer: CLIPTokenizer, prompt: string): WeightedTokens[] {
  const room = tokenizer.modelMaxLength - 2; // in a chunk, beside its beginning and its end
  const parts: WeightedTokens[] = [{ ids: [], weights: [] }];
  for (const { text, weight } of parsePromptWeights(prompt)) {
    for (const [i, words] of text.split(BREAK).entries()) {
      if (i > 0) parts.push({ ids: [], weights: [] });
      const [[, ...ids]] = tokenizer.encode(words, { padding: false, truncation: false });
      ids.pop(); // its end, as its beginning, is the chunk's
      parts.at(-1)!.ids.push(...ids);
      parts.at(-1)!.weights.push(...ids.map(() => weight));
    }
  }
  return parts.flatMap(({ ids, weights }) => Array.from({ length: Math.max(1, Math.ceil(ids.length / room)) }, (_, i) => {
    const [from, to] = [i * room, (i + 1) * room];
    return { ids: ids.slice(from, to), weights: weights.slice(from, to) };
  }));
}

/** The states that each encoder gives, in as many chunks, and where it gives that the first chunk of each text as a whole. */
function embedByEach(encoders: readonly PromptEncoder[], tokens: ChunkedTokens[], clipSkip: number): EncodedWhole[] {
  const chunks = Math.max(...tokens.map(each => each.chunks)); // of the two, which may read other texts
  const first = tf.range(0, tokens[0].prompts.length * chunks, chunks, 'int32');
  return encoders.map((encoder, i) => {
    let pooled: tf.Tensor | undefined;
    const states = embed(encoder, { ...tokens[i], chunks }, ids => {
      const encoded = encodeIdsPenultimate(encoder.textEncoder, ids, clipSkip);
      pooled = encoded.pooled;
      return encoded.states;
    });
    return { states, pooled: pooled && tf.gather(pooled, first) } as EncodedWhole; // a first encoder of two may give none
  });
}

/** `[prompts, chunks * tokens, features]` */
function embed({ tokenizer }: PromptEncoder, { prompts, chunks }: ChunkedTokens, encode: (ids: number[][]) => tf.Tensor): tf.Tensor {
  const { modelMaxLength: length, bosTokenId, eosTokenId, padTokenId } = tokenizer;
  const room = length - 2;
  const rows = prompts.flatMap(own => Array.from({ length: chunks }, (_, i) => {
    const { ids, weights } = own[i] ?? { ids: [], weights: [] };
    const padding = Array<number>(room - ids.length);
    return { ids: [bosTokenId, ...ids, eosTokenId, ...padding.fill(padTokenId)], weights: [1, ...weights, 1, ...padding.fill(1)] };
  }));
  const states = encode(rows.map(({ ids }) => ids)).reshape([prompts.length, chunks * length, -1]);
  const weights = rows.map(row => row.weights).flat();
  if (weights.every(weight => weight === 1)) return states;
  const weighted = states.mul(tf.tensor(weights, [prompts.length, chunks * length, 1]));
  return weighted.mul(states.mean([1, 2], true).div(weighted.mean([1, 2], true)));
}
