import * as tf from '@tensorflow/tfjs';
import type { PromptEncoder } from '../../adapters/learned_words.js';
import { checkInteger } from '../../core/checks.js';
import type { CLIPTextModel } from '../../models/clip_text_model.js';

/**
 * What encoders give of texts: hidden states `[texts, tokens, hiddenSize]`, and where there is a projection each as a whole, `[texts,
 * features]`.
 */
export type EncodedIds = { states: tf.Tensor; pooled?: tf.Tensor };

/** The same, of what gives both. */
export type EncodedWhole = Required<EncodedIds>;

export interface EncodeOptions {
  /** How many tokens there are of each text. */
  tokens?: number;
  /** Take the states of so many layers before the usual ones. */
  clipSkip?: number;
}

/**
 * Texts -> the text encoder's last hidden states `[texts, tokens, hiddenSize]`, float, as Stable Diffusion 1.x and 2.x take them.
 * Warns of what does not fit into `tokens` tokens and is cut.
 */
export function encodePrompt(encoder: PromptEncoder, texts: string[], { tokens, clipSkip = 0 }: EncodeOptions = {}): tf.Tensor3D {
  return encodeIds(encoder.textEncoder, toIds(encoder.tokenizer, texts, tokens), clipSkip);
}

/** As `encodePrompt`, of SDXL: the last hidden states but one, without the final norm, and the texts as a whole. */
export function encodePenultimate(encoder: PromptEncoder, texts: string[], { tokens, clipSkip = 0 }: EncodeOptions = {}): EncodedIds {
  return encodeIdsPenultimate(encoder.textEncoder, toIds(encoder.tokenizer, texts, tokens), clipSkip);
}

/** As `encodePrompt`, of the latent upscaler: the last hidden states without the final norm, and the texts as a whole, not projected. */
export function encodePooled(encoder: PromptEncoder, texts: string[], { tokens }: EncodeOptions = {}): EncodedWhole {
  const { textEncoder } = encoder;
  const ids = toIds(encoder.tokenizer, texts, tokens);
  checkIds(textEncoder, ids);
  return tf.tidy(() => {
    const { lastHiddenState, hiddenStates } = textEncoder.forward(ids);
    return { states: hiddenStates.at(-1)!, pooled: textEncoder.pool(lastHiddenState, ids) };
  });
}

/** @throws RangeError for an id that the text encoder has no embedding of. */
export function encodeIds(textEncoder: CLIPTextModel, ids: number[][], clipSkip: number): tf.Tensor3D {
  checkIds(textEncoder, ids);
  checkInteger('clipSkip', clipSkip, 0, textEncoder.config.num_hidden_layers);
  return tf.tidy(() => {
    const { lastHiddenState, hiddenStates } = textEncoder.forward(ids);
    if (clipSkip === 0) return lastHiddenState;
    return textEncoder.finalLayerNorm.forward(hiddenStates.at(-1 - clipSkip)!);
  }) as tf.Tensor3D;
}

/** @throws RangeError for an id that the text encoder has no embedding of. */
export function encodeIdsPenultimate(textEncoder: CLIPTextModel, ids: number[][], clipSkip: number): EncodedIds {
  checkIds(textEncoder, ids);
  checkInteger('clipSkip', clipSkip, 0, textEncoder.config.num_hidden_layers - 1);
  return tf.tidy((): EncodedIds => {
    const { hiddenStates, ...whole } = textEncoder.forward(ids);
    const states = hiddenStates.at(-2 - clipSkip)!;
    return 'textEmbeds' in whole ? { states, pooled: whole.textEmbeds as tf.Tensor } : { states };
  });
}

/** What makes ids of texts. */
interface Tokenizer {
  readonly modelMaxLength: number;
  encode(texts: readonly string[], options: { maxLength?: number; truncation?: boolean }): number[][];
  decode(ids: readonly number[]): string;
}

/** The ids of texts, so many of each. Warns of what does not fit and is cut. */
export function toIds(tokenizer: Tokenizer, texts: readonly string[], tokens = tokenizer.modelMaxLength): number[][] {
  return texts.map(text => {
    const [whole] = tokenizer.encode([text], { maxLength: tokens, truncation: false });
    if (whole.length <= tokens) return whole;
    const cut = tokenizer.decode(whole.slice(tokens - 1, -1)); // all but the end, so that a long text is read once
    if (cut) console.warn(`A prompt was cut, because the text encoder takes ${tokens} tokens at most; it does not see '${cut}'`);
    return [...whole.slice(0, tokens - 1), whole.at(-1)!];
  });
}

/** @throws RangeError for an id that a text encoder of so many tokens has no embedding of. */
export function checkIds({ tokens }: { readonly tokens: number }, ids: readonly number[][]): void {
  const unknown = ids.flat().find(id => id >= tokens);
  if (unknown !== undefined) {
    throw new RangeError(`tokenizer: gives the id ${unknown}, the text encoder knows ${tokens} tokens: the two are of different models`);
  }
}

/** What is given of texts, and of the rest what `encode` gives. */
export function takeOrEncode(states: tf.Tensor | undefined, pooled: tf.Tensor | undefined, encode: () => EncodedWhole): EncodedWhole {
  const encoded = states ? undefined : encode();
  return { states: states ?? encoded!.states, pooled: pooled ?? encoded!.pooled };
}

/** What a denoiser is told of all texts, so often of each. */
export function joinTexts(all: readonly EncodedWhole[], times: number): { encoderHiddenStates: tf.Tensor; textEmbeds: tf.Tensor } {
  return {
    encoderHiddenStates: repeatEach(tf.concat(all.map(({ states }) => states)), times),
    textEmbeds: repeatEach(tf.concat(all.map(({ pooled }) => pooled)), times),
  };
}

/** Each sample `times` times over, copies side by side: a, b -> a, a, b, b. */
export function repeatEach(x: tf.Tensor, times: number): tf.Tensor {
  return tf.tidy(() => x.expandDims(1).tile([1, times, ...x.shape.slice(1).map(() => 1)]).reshape([-1, ...x.shape.slice(1)]));
}
