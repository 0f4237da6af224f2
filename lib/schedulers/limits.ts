import * as tf from '@tensorflow/tfjs';
import { weightedSum } from './weighted_sum.js';

/** Dynamic thresholding of the predicted original; for pixels, not for latents. */
export interface ThresholdingConfig {
  /** Dynamic thresholding of the predicted original (arXiv:2205.11487); for pixels, not for latents. */
  thresholding: boolean;
  /** The quantile that it brings to the limit. */
  dynamic_thresholding_ratio: number;
  /** The most that this limit may be. */
  sample_max_value: number;
}

export const thresholdingDefaults: ThresholdingConfig = { thresholding: false, dynamic_thresholding_ratio: 0.995, sample_max_value: 1 };

/** Clipping of the predicted original to `clip_sample_range` on both sides. */
export interface ClippingConfig {
  /** Whether the predicted original is clipped. */
  clip_sample: boolean;
  /** The bound that it is clipped to, on both sides of 0. */
  clip_sample_range: number;
}

/** `original` within the bounds that a config sets, if it sets any. */
export function limit(original: tf.Tensor, config: Partial<ThresholdingConfig & ClippingConfig>): tf.Tensor {
  const { dynamic_thresholding_ratio: ratio, sample_max_value: max, clip_sample_range: range } = config;
  if (config.thresholding) return threshold(original, ratio!, max!);
  return config.clip_sample ? original.clipByValue(-range!, range!) : original;
}

/**
 * Dynamic thresholding (arXiv:2205.11487): clips each sample to the given quantile of its absolute values, itself kept within
 * 1 and `max`, and divides by it.
 */
function threshold(sample: tf.Tensor, quantile: number, max: number): tf.Tensor {
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
