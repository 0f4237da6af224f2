import * as tf from '@tensorflow/tfjs';
import { bundledWord, bundledWordOfTwo } from '../checkpoints/bundled_words.js';
import { brief, printable } from '../core/checks.js';
import type { StateDict, StoredTensor } from '../loading/state_dict.js';
import type { CLIPTextModel } from '../models/clip_text_model.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { fitsEncoder, type LearnedWord } from './textual_inversion.js';

/** A tokenizer and a text encoder, which read prompts and can learn words. */
export interface PromptEncoder {
  /** Text to ids. */
  readonly tokenizer: CLIPTokenizer;
  /** Ids to hidden states. */
  readonly textEncoder: CLIPTextModel;
}

/**
 * Teaches a word to each text encoder and tokenizer that it is for.
 * @throws RangeError for a token that is known already; nothing is changed then.
 */
export function learnWord(encoders: readonly PromptEncoder[], { token, embeddings }: LearnedWord): void {
  const learning = encoders.flatMap(({ tokenizer, textEncoder }, i) => {
    const { data } = embeddings[i] ?? {};
    if (!data) return [];
    const [first, features] = [textEncoder.tokens, textEncoder.config.hidden_size];
    const ids = Array.from({ length: data.length / features }, (_, row) => first + row);
    return [{ tokenizer, textEncoder, ids, data, features }];
  });
  learning.forEach(({ tokenizer, ids }) => tokenizer.newTokens(token, ids));
  for (const { tokenizer, textEncoder, ids, data, features } of learning) {
    tokenizer.addToken(token, ids);
    tf.tidy(() => textEncoder.addTokenEmbeddings(tf.tensor2d(data, [ids.length, features])));
  }
}

/** Words that came with other weights, by what prompts call them: for each text encoder. */
export type BundledWords = ReadonlyMap<string, LearnedWord['embeddings']>;

/** Learns such words. Those that are known already, or are another model's, are left out with a warning: nobody asked for them. */
export function learnBundledWords(encoders: readonly PromptEncoder[], name: string, words: BundledWords): void {
  for (const [token, embeddings] of words) {
    const leftOut = (why: string) => console.warn(printable(`${name}: its bundled word ${brief(token)} is left out: ${why}`));
    const stranger = embeddings.find((each, i) => each && !(encoders[i] && fitsEncoder(each, encoders[i].textEncoder.config.hidden_size)));
    if (stranger) leftOut(`it has the shape [${stranger.shape.join(', ')}]`);
    else {
      try {
        learnWord(encoders, { token, embeddings });
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        leftOut(error.message);
      }
    }
  }
}

/** A file without the words that it brings along, and these. */
export function splitBundledWords(file: StateDict): { file: StateDict; words: BundledWords } {
  const tensors = new Map<string, StoredTensor>();
  const words = new Map<string, Array<StoredTensor | undefined>>();
  for (const [key, tensor] of file.tensors) {
    const word = bundledWord(key);
    const { word: called, encoder } = word === undefined ? bundledWordOfTwo(key) ?? {} : { word, encoder: 0 };
    if (called === undefined) tensors.set(key, tensor);
    else words.set(called, Object.assign(words.get(called) ?? [undefined, undefined], { [encoder!]: tensor }));
  }
  return { file: { ...file, tensors }, words };
}
