import * as tf from '@tensorflow/tfjs';
import type { Generator } from '../core/random.js';
import type { AutoencoderKL, DiagonalGaussianDistribution } from './autoencoder_kl.js';
import type { AutoencoderTiny } from './autoencoder_tiny.js';

/** The autoencoders that a pipeline can have as its VAE. */
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

/**
 * Latents of an autoencoder as what denoises them knows them, around 0 with a deviation of about 1: by its scaling_factor, and its
 * latents_mean and latents_std if it has both, or its shift_factor.
 */
export function normalizeLatents(vae: Autoencoder, latents: tf.Tensor): tf.Tensor {
  const { mean, std, scale } = spread(vae);
  return tf.tidy(() => latents.sub(mean).mul(scale).div(std));
}

/** Takes `normalizeLatents` back. */
export function denormalizeLatents(vae: Autoencoder, latents: tf.Tensor): tf.Tensor {
  const { mean, std, scale } = spread(vae);
  return tf.tidy(() => latents.mul(std).div(scale).add(mean));
}

function spread({ config }: Autoencoder): { mean: number | number[]; std: number | number[]; scale: number } {
  const { latents_mean: mean, latents_std: std } = 'latents_mean' in config ? config : { latents_mean: null, latents_std: null };
  return { ...mean && std ? { mean, std } : { mean: config.shift_factor ?? 0, std: 1 }, scale: config.scaling_factor };
}
