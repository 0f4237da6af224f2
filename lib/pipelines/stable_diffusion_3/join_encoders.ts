import * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../../core/checks.js';
import type { SD3Transformer2DModel } from '../../models/sd3_transformer_2d_model.js';
import type { T5EncoderModel } from '../../models/t5_encoder_model.js';
import type { T5Tokenizer } from '../../tokenizer/t5_tokenizer.js';
import { checkIds, toIds, type EncodedWhole } from '../inputs/encode_prompt.js';

/** What reads texts besides CLIP's encoders, and for what. */
export interface T5Reader {
  readonly transformer: SD3Transformer2DModel;
  readonly textEncoder3?: T5EncoderModel;
  readonly tokenizer3?: T5Tokenizer;
}

/** How many tokens T5 reads of a text: up to as many as it was trained on. @throws RangeError for any other number. */
export function checkSequenceLength(maxSequenceLength = 256): number {
  return checkInteger('maxSequenceLength', maxSequenceLength, 1, 512);
}

/**
 * What the transformer is told of texts: CLIP's states, one behind the other and filled up with zeros, and T5's below them; and each text
 * as a whole. Without T5 there are zeros in the place of its states.
 */
export function joinEncoders(
  { transformer, textEncoder3, tokenizer3 }: T5Reader, ofClip: readonly EncodedWhole[], texts: readonly string[], tokens: number,
): EncodedWhole {
  const { joint_attention_dim: features } = transformer.config;
  const states = tf.concat(ofClip.map(each => each.states), -1);
  const padded = tf.pad(states, [[0, 0], [0, 0], [0, features - states.shape[2]!]]);
  const ofT5 = textEncoder3 ? encodeByT5(textEncoder3, toIds(tokenizer3!, texts, tokens)) : tf.zeros([texts.length, tokens, features]);
  return { states: tf.concat([padded, ofT5], 1), pooled: tf.concat(ofClip.map(({ pooled }) => pooled), -1) };
}

function encodeByT5(textEncoder: T5EncoderModel, ids: number[][]): tf.Tensor {
  checkIds(textEncoder, ids);
  return textEncoder.forward(ids);
}
