import { printable } from '../core/checks.js';
import type { StateDict, StoredTensor } from '../loading/state_dict.js';
import { WeightsError } from '../weights/load_weights.js';

/** A word that text encoders learned (textual inversion, arXiv:2208.01618). */
export interface LearnedWord {
  /** What prompts call it. */
  readonly token: string;
  /** For each text encoder one embedding `[features]`, or several, row by row, `[tokens, features]`; undefined where it learned nothing. */
  readonly embeddings: ReadonlyArray<StoredTensor | undefined>;
}

/** Embeddings of one word, at most: a prompt of 77 tokens has room for 75, and each is a token of the tokenizer. */
const MAX_EMBEDDINGS = 1024;

/** What other tools call the part for Stable Diffusion 3's third text encoder. */
const T5 = 't5xxl';

const nameless = ['*', 'emb_params', 'clip_l', 'clip_g']; // what other tools call it, whichever it is

/**
 * The word of a file of diffusers (`{ '<cat>': tensor }`), of A1111 (`string_to_param`, and what it is called under `name`), of a tensor
 * alone, or for SDXL's two text encoders (`clip_l`, `clip_g`), which SD3 has too; a part for T5 (`t5xxl`) is left out, with a warning.
 * @param features of an embedding of each text encoder.
 * @param token what to call it; by default what the file does.
 * @throws WeightsError for a file of something else, TypeError if nobody says what to call it.
 */
export function parseTextualInversion(file: StateDict, features: readonly number[], token?: string): LearnedWord {
  const { name, tensors: all, metadata } = file;
  const tensors = new Map([...all].filter(([key]) => key !== T5));
  if (all.size > 0 && tensors.size === 0) {
    throw new WeightsError(printable(`${name}: is a word for T5 (${T5}) alone, which learns none; takes one for CLIP`));
  }
  const keys = [...tensors.keys()];
  const [key = ''] = keys;
  const pair = keys.length > 0 && features.length > 1 && keys.every(each => each === 'clip_l' || each === 'clip_g');
  const embeddings = features.map((count, i) => {
    const tensor = pair ? tensors.get(i === 0 ? 'clip_l' : 'clip_g') : tensors.get(key);
    return tensor && fitsEncoder(tensor, count) ? tensor : undefined;
  });
  if (embeddings.filter(each => each !== undefined).length !== (pair ? tensors.size : 1) || (!pair && tensors.size > 1)) {
    const found = [...tensors].map(([each, tensor]) => `${each} [${tensor.shape.join(', ')}]`).slice(0, 6).join(', ') || 'nothing';
    const takes = features.map(count => `[tokens, ${count}]`).join(' or ');
    throw new WeightsError(printable(`${name}: is no textual inversion for this model: holds ${found}, takes one tensor ${takes}`));
  }
  const many = embeddings.find(each => each && rowsOf(each) > MAX_EMBEDDINGS);
  if (many) throw new WeightsError(printable(`${name}: is a word of ${rowsOf(many)} embeddings, takes up to ${MAX_EMBEDDINGS}`));
  const called = token ?? (nameless.includes(key) ? metadata.name : key);
  if (!called) throw new TypeError(`${name}: does not say what to call it; say it by token, as in '<cat>'`);
  if (all.has(T5)) console.warn(printable(`${name}: leaves out what is for T5 (${T5}), which learns no words; CLIP's text encoders do`));
  return { token: called, embeddings };
}

function rowsOf({ shape, data }: StoredTensor): number {
  return data.length / shape.at(-1)!;
}

/** Whether a tensor holds embeddings of so many features. */
export function fitsEncoder({ shape, data }: StoredTensor, features: number): boolean {
  return (shape.length === 1 || shape.length === 2) && shape.at(-1) === features && data.length > 0;
}
