import type * as tf from '@tensorflow/tfjs';
import type { Generator } from '../core/random.js';
import type { AutoencoderKL, DiagonalGaussianDistribution } from './autoencoder_kl.js';
import type { AutoencoderTiny } from './autoencoder_tiny.js';

/** What a pipeline's VAE can be. */
export type Autoencoder = AutoencoderKL | AutoencoderTiny;

/**
 * Latents of what an autoencoder's `encode` gave: drawn with a generator, the most likely ones with `null`, or those that there are.
 * The caller disposes them, and what was encoded.
 */
export function retrieveLatents(
  encoded: { latentDist: DiagonalGaussianDistribution } | { latents: tf.Tensor }, generator: Generator | Generator[] | undefined | null,
): tf.Tensor {
  if ('latents' in encoded) return encoded.latents;
  return generator === null ? encoded.latentDist.mode() : encoded.latentDist.sample(generator);
}
