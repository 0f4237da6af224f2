import * as tf from '@tensorflow/tfjs';
import { noteAttention } from '../core/graph.js';
import { kernels } from '../core/kernels.js';
import { concat, range, slice } from './chunks.js';

/** Scores held at once where nothing else is asked for: 512 queries against 4096 keys, the fastest size measured on CPUs. */
const SCORE_BYTES = 8 * 2 ** 20;

/** As many as are fastest on the current device. */
export function defaultScoreBytes(): number {
  return kernels().scoreBytes ?? SCORE_BYTES;
}

/** Options of `scaledDotProductAttention`. */
export interface AttentionOptions {
  /** How many heads the features are divided into. */
  heads: number;
  /** Added to the scores: `[queries, keys]`, e.g. a causal mask, or for each head, `[heads, queries, keys]`. */
  mask?: tf.Tensor;
  /** What scores are multiplied by; 1 / sqrt(headSize) by default. */
  scale?: number;
  /** The largest number of heads that are computed at once. */
  maxHeads?: number;
  /** The scores of one chunk never exceed this, unless one query's alone do. */
  maxScoreBytes?: number;
}

/**
 * softmax(q k^T * scale + mask) v for each head, in chunks over heads and queries.
 * - query `[batch, queries, heads * headSize]`, key and value `[batch, keys, heads * headSize]`; out like the query.
 * Equals torch.nn.functional.scaled_dot_product_attention (arXiv:1706.03762).
 */
export function scaledDotProductAttention(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, options: AttentionOptions): tf.Tensor {
  const { heads, mask, scale, maxHeads = Infinity, maxScoreBytes = defaultScoreBytes() } = options;
  const maskOfHeads = mask?.rank === 3;
  const fused = maskOfHeads || scale !== undefined ? undefined : kernels().attention?.(query, key, value, { heads, mask });
  if (fused) return fused;
  const [batch, queries, features] = query.shape;
  const keys = key.shape[1]!;
  const headSize = features / heads;
  const bytesPerQuery = 4 * keys;
  const together = maskOfHeads ? heads : batch * heads; // the mask of a head is that of each sample
  const headsAtOnce = Math.max(1, Math.min(together, maxHeads, Math.floor(maxScoreBytes / (bytesPerQuery * queries))));
  const queriesAtOnce = Math.min(queries, Math.max(1, Math.floor(maxScoreBytes / (bytesPerQuery * headsAtOnce))));

  const result = tf.tidy(() => {
    const scaled = scale === 1 ? query : tf.mul(query, scale ?? 1 / Math.sqrt(headSize));
    const q = splitHeads(scaled, heads); // [batch * heads, queries, headSize]
    const k = splitHeads(key, heads);
    const v = splitHeads(value, heads);
    const firsts = range(batch * heads, together).map(([first]) => first);
    const groups = firsts.flatMap(first => range(together, headsAtOnce).map(([place, count]) => tf.tidy(() => {
      const head = first + place;
      const ks = slice(k, [head, 0, 0], [count, keys, headSize]);
      const vs = slice(v, [head, 0, 0], [count, keys, headSize]);
      const chunks = range(queries, queriesAtOnce).map(([start, length]) => tf.tidy(() => {
        const scores = tf.matMul(slice(q, [head, start, 0], [count, length, headSize]), ks, false, true);
        const masked = mask ? tf.add(scores, maskOf(mask, [place, count], [start, length])) : scores;
        return tf.matMul(tf.softmax(masked), vs); // [count, length, headSize]
      }));
      return concat(chunks, 1);
    })));
    return joinHeads(concat(groups, 0), batch);
  });
  if (!mask && scale === undefined) noteAttention({ query, key, value, heads }, result);
  return result;
}

/** The part of a mask that is of some heads and queries. */
function maskOf(mask: tf.Tensor, [head, heads]: [number, number], [query, queries]: [number, number]): tf.Tensor {
  const keys = mask.shape.at(-1)!;
  return mask.rank === 3 ? slice(mask, [head, query, 0], [heads, queries, keys]) : slice(mask, [query, 0], [queries, keys]);
}

/** `[tokens, tokens]`: 0 where a token may attend, the lowest float32 at tokens after it. */
export function causalMask(tokens: number): tf.Tensor {
  return tf.tidy(() => {
    const later = tf.sub(1, tf.linalg.bandPart(tf.ones([tokens, tokens]), -1, 0));
    return tf.mul(later, -3.4028234663852886e38);
  });
}

/** `[batch, tokens, heads * headSize]` -> `[batch * heads, tokens, headSize]` */
function splitHeads(x: tf.Tensor, heads: number): tf.Tensor {
  const [batch, tokens, features] = x.shape;
  const split = tf.transpose(tf.reshape(x, [batch, tokens, heads, features / heads]), [0, 2, 1, 3]);
  return tf.reshape(split, [batch * heads, tokens, features / heads]);
}

/** `[batch * heads, tokens, headSize]` -> `[batch, tokens, heads * headSize]` */
function joinHeads(x: tf.Tensor, batch: number): tf.Tensor {
  const [all, tokens, headSize] = x.shape;
  const joined = tf.transpose(tf.reshape(x, [batch, all / batch, tokens, headSize]), [0, 2, 1, 3]);
  return tf.reshape(joined, [batch, tokens, (all / batch) * headSize]);
}
