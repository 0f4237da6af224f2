import * as tf from '@tensorflow/tfjs';
import { weightedSum } from './weighted_sum.js';

/**
 * Dynamic thresholding (arXiv:2205.11487): clips each sample to the given quantile of its absolute values, itself kept within
 * 1 and `max`, and divides by it.
 */
export function threshold(sample: tf.Tensor, quantile: number, max: number): tf.Tensor {
  return tf.tidy(() => {
    const values = sample.abs().reshape([sample.shape[0], -1]);
    const rank = Math.fround(Math.fround(quantile) * (values.shape[1]! - 1));
    const low = Math.floor(rank);
    const top = tf.topk(values, values.shape[1]! - low).values; // falling, ends with the value at `low`
    const atLow = top.slice([0, top.shape[1]! - 1], [-1, 1]);
    const atHigh = top.slice([0, Math.max(top.shape[1]! - 2, 0)], [-1, 1]);
    const share = rank - low;
    const limit = weightedSum([1 - share, atLow], [share, atHigh]).maximum(1).minimum(max)
      .reshape([sample.shape[0], ...Array(sample.rank - 1).fill(1)]);
    return sample.minimum(limit).maximum(limit.neg()).div(limit);
  });
}
