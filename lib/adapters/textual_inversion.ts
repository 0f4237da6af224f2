import { printable } from '../core/checks.js';
import type { StateDict, StoredTensor } from '../loading/state_dict.js';
import { WeightsError } from '../weights/load_weights.js';

/** A word that a text encoder learned (textual inversion, arXiv:2208.01618): one embedding, or several, row by row. */
export interface LearnedWord {
  /** What prompts call it. */
  readonly token: string;
  /** `[features]` or `[tokens, features]` */
  readonly embeddings: StoredTensor;
}

const nameless = ['*', 'emb_params']; // what other tools call it, whichever it is

/**
 * The word of a file of diffusers (`{ '<cat>': tensor }`), of A1111 (`string_to_param`, and what it is called under `name`), or of a tensor alone.
 * @param features of an embedding of this text encoder.
 * @param token what to call it; by default what the file does.
 * @throws WeightsError for a file of something else, TypeError if nobody says what to call it.
 */
export function parseTextualInversion({ name, tensors, metadata }: StateDict, features: number, token?: string): LearnedWord {
  const [[key, embeddings] = ['', undefined], ...others] = tensors;
  if (!embeddings || others.length || !fitsEncoder(embeddings, features)) {
    const found = [...tensors].map(([each, tensor]) => `${each} [${tensor.shape.join(', ')}]`).slice(0, 6).join(', ');
    throw new WeightsError(printable(`${name}: is no textual inversion for this model: holds ${found || 'nothing'}, takes one tensor [tokens, ${features}]`));
  }
  const called = token ?? (nameless.includes(key) ? metadata.name : key);
  if (!called) throw new TypeError(`${name}: does not say what to call it; say it by token, as in '<cat>'`);
  return { token: called, embeddings };
}

/** Whether a tensor holds embeddings of so many features. */
export function fitsEncoder({ shape, data }: StoredTensor, features: number): boolean {
  return (shape.length === 1 || shape.length === 2) && shape.at(-1) === features && data.length > 0;
}
