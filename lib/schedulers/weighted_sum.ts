import * as tf from '@tensorflow/tfjs';

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
