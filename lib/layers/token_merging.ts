import * as tf from '@tensorflow/tfjs';
import { checkInteger, show } from '../core/checks.js';
import { narrow, widen } from '../core/precision.js';

/** How to merge tokens, in the words of Python's tomesd. */
export interface TokenMergingOptions {
  /** The share of tokens to merge into others: 0.5 by default, 0.75 at most. */
  ratio?: number;
  /**
   * The levels of the UNet to merge in: those whose states are at most this many times smaller than the latents. 1 (default), 2, 4 or 8.
   */
  maxDownsample?: number;
  /** Whether to merge for attention of the image to itself, which saves the most time; true by default. */
  mergeAttn?: boolean;
  /** Whether to merge for attention to the text; false by default. */
  mergeCrossattn?: boolean;
  /** Whether to merge for the feed-forward layers, which changes the picture most; false by default. */
  mergeMlp?: boolean;
}

/** @throws RangeError for numbers that do not fit. */
export function checkTokenMerging(
  { ratio = 0.5, maxDownsample = 1, mergeAttn = true, mergeCrossattn = false, mergeMlp = false }: TokenMergingOptions,
): Required<TokenMergingOptions> {
  if (!(ratio >= 0 && ratio <= 0.75)) throw new RangeError(`ratio: got ${show(ratio)}, takes a number from 0 to 0.75`);
  return { ratio, maxDownsample: checkInteger('maxDownsample', maxDownsample, 1, 8), mergeAttn, mergeCrossattn, mergeMlp };
}

/** Tokens to fewer, and fewer back to as many as there were. Callers wrap it in tf.tidy. */
export interface TokenMatch {
  /** `[batch, tokens, features]` -> `[batch, fewer, features]`: those that are merged become their mean. */
  merge(x: tf.Tensor): tf.Tensor;
  /** `[batch, fewer, features]` -> `[batch, tokens, features]`: those that were merged become the same. */
  unmerge(x: tf.Tensor): tf.Tensor;
}

/**
 * Finds the tokens that are most alike: one of every 2 x 2 stays, and of the others as many as `ratio` says, those most alike to one that
 * stays, are merged into it. All on the device.
 * - `x`: `[batch, height * width, features]`.
 *
 * Equals bipartite_soft_matching_random2d of tomesd without randomness (arXiv:2303.17604).
 */
export function matchTokens(x: tf.Tensor, [height, width]: readonly [number, number], ratio: number): TokenMatch {
  const [batch, tokens] = x.shape;
  const { staying, others } = splitTokens(height, width);
  const merged = Math.min(others.length, Math.floor(tokens * ratio));
  const alone = others.length - merged;
  const fewer = tokens - merged;

  // Where each token goes: `[batch * tokens, 1]` rows of `batch * fewer`; in each sample first those left alone, then those that stay.
  const places = tf.tidy(() => {
    const exact = widen(x);
    const unit = tf.div(exact, tf.norm(exact, 2, -1, true));
    const scores = tf.matMul(tf.gather(unit, int(others), 1), tf.gather(unit, int(staying), 1), false, true);
    const rank = invert(tf.topk(tf.max(scores, -1), others.length).indices); // of each, by its likeness to the token that is most like it
    const ofOthers = tf.where(tf.less(rank, int(merged)), tf.add(tf.argMax(scores, -1), int(alone)), tf.sub(rank, int(merged)));
    const ofStaying = tf.tile(int([staying.map((_, i) => alone + i)]), [batch, 1]);
    const inOrder = tf.gather(tf.concat([ofOthers, ofStaying], 1), int(inverse([...others, ...staying])), 1);
    return tf.reshape(tf.add(inOrder, rowStarts(batch, fewer)), [-1, 1]);
  });
  const sum = (values: tf.Tensor) => tf.scatterND(places, values, [batch * fewer, values.shape[1]!]);
  const counts = sum(tf.ones([batch * tokens, 1]));
  return {
    merge: many => {
      const features = many.shape[2]!;
      return tf.reshape(narrow(tf.div(sum(widen(tf.reshape(many, [-1, features]))), counts), many), [batch, fewer, features]);
    },
    unmerge: few => {
      const features = few.shape[2]!;
      return tf.reshape(tf.gatherND(tf.reshape(few, [-1, features]), places), [batch, tokens, features]); // tf.gather would read the places
    },
  };
}

const int = (values: tf.TensorLike) => tf.tensor(values, undefined, 'int32');

/** Where each row begins when rows of `length` lie one after the other: `[rows, 1]`. */
const rowStarts = (rows: number, length: number) => int(Array.from({ length: rows }, (_, row) => [row * length]));

/** The permutations that undo those in the rows of `x`. */
function invert(x: tf.Tensor): tf.Tensor {
  const [rows, length] = x.shape;
  const at = tf.reshape(tf.add(x, rowStarts(rows, length!)), [-1, 1]);
  const positions = Array.from({ length: rows * length! }, (_, i) => i % length!);
  return tf.reshape(tf.scatterND(at, int(positions), [rows * length!]), x.shape);
}

function inverse(permutation: readonly number[]): number[] {
  const inverted = Array<number>(permutation.length);
  permutation.forEach((token, i) => { inverted[token] = i; });
  return inverted;
}

/** The upper left token of every 2 x 2, and all others. */
function splitTokens(height: number, width: number): { staying: number[]; others: number[] } {
  const staying: number[] = [];
  const others: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const stays = y % 2 === 0 && x % 2 === 0 && y + 1 < height && x + 1 < width;
      (stays ? staying : others).push(y * width + x);
    }
  }
  return { staying, others };
}
