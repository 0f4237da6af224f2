import * as tf from '@tensorflow/tfjs';
import type { PromptEncoder } from '../adapters/learned_words.js';
import type { CLIPTextModel } from '../models/clip_text_model.js';

/**
 * Texts -> the text encoder's hidden states `[texts, tokens, hiddenSize]`, float.
 * Warns of what does not fit into `tokens` tokens and is cut.
 * @param clipSkip take the states that many layers before the last one's.
 */
export function encodePrompt(
  { tokenizer, textEncoder }: PromptEncoder,
  texts: string[],
  { tokens = tokenizer.modelMaxLength, clipSkip = 0 } = {},
): tf.Tensor3D {
  for (const text of texts) {
    const cut = tokenizer.truncatedText(text, tokens);
    if (cut) console.warn(`A prompt was cut, because the text encoder takes ${tokens} tokens at most; it does not see '${cut}'`);
  }
  return encodeIds(textEncoder, tokenizer.encode(texts, { maxLength: tokens }), clipSkip);
}

/**
 * Token ids -> hidden states `[texts, tokens, hiddenSize]`, float; those of `clipSkip` layers before the last.
 * @throws RangeError for an id that the text encoder has no embedding of.
 */
export function encodeIds(textEncoder: CLIPTextModel, ids: number[][], clipSkip: number): tf.Tensor3D {
  const unknown = ids.flat().find(id => id >= textEncoder.tokens);
  if (unknown !== undefined) throw new RangeError(`tokenizer: gives the id ${unknown}, the text encoder knows ${textEncoder.tokens} tokens: the two are of different models`);
  return tf.tidy(() => {
    const { lastHiddenState, hiddenStates } = textEncoder.forward(ids);
    if (clipSkip === 0) return lastHiddenState;
    return textEncoder.finalLayerNorm.forward(hiddenStates.at(-1 - clipSkip)!);
  }) as tf.Tensor3D;
}

/** Each sample `times` times over, copies side by side: a, b -> a, a, b, b. */
export function repeatEach(x: tf.Tensor, times: number): tf.Tensor {
  return tf.tidy(() => x.expandDims(1).tile([1, times, ...x.shape.slice(1).map(() => 1)]).reshape([-1, ...x.shape.slice(1)]));
}
