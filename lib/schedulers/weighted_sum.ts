import * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';

export type Term = readonly [weight: number | tf.Tensor, tensor: tf.Tensor];

/** The sum of weight * tensor; weights are numbers or tensors that broadcast. Always a tensor of its own. */
export function weightedSum(...terms: Term[]): tf.Tensor {
  return tf.tidy(() => {
    const present = terms.filter(([weight]) => weight !== 0);
    if (present.length === 0) return tf.zerosLike(terms[0][1]);
    const products = present.map(([weight, tensor]) => weight === 1 ? tensor : tensor.mul(weight));
    return products.length === 1 ? products[0].clone() : tf.addN(products);
  });
}

/**
 * The weighted sum, over `divisor`. The sum is what is divided: over 0 (no signal at all, as with zero terminal SNR) it is then infinite
 * and can be clipped, where terms divided one by one are infinite against each other and make no number.
 */
export function weightedQuotient(divisor: number, ...terms: Term[]): tf.Tensor {
  return tf.tidy(() => divisor === 1 ? weightedSum(...terms) : weightedSum(...terms).div(divisor));
}

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

/** `step` for each sample of a batch with its own timestep and output. @throws RangeError unless there are as many timesteps as samples. */
export function stepEach(
  name: string, timesteps: readonly number[], modelOutput: tf.Tensor, sample: tf.Tensor,
  step: (timestep: number, modelOutput: tf.Tensor, sample: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  const [batch] = sample.shape;
  if (timesteps.length !== batch) throw new RangeError(`${name}: got ${show(timesteps)}, takes ${batch}, one per sample`);
  return tf.tidy(() => {
    const [outputs, samples] = [modelOutput, sample].map(x => tf.split(x, batch));
    return tf.concat(timesteps.map((timestep, i) => step(timestep, outputs[i], samples[i])));
  });
}
