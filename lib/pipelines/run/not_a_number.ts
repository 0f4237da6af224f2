import * as tf from '@tensorflow/tfjs';
import type { Autoencoder } from '../../models/autoencoder.js';
import type { Model } from '../../models/model.js';

/**
 * A value during `generate` is NaN, so that the picture would be black. The message says which value, from when on, and what would help.
 */
export class NotANumberError extends Error {
  override name = 'NotANumberError';
}

/** How many values of a tensor are NaN: waits for the device. */
export async function countNaN(x: tf.Tensor): Promise<number> {
  const count = tf.tidy(() => tf.sum(tf.cast(tf.isNaN(x), 'float32')));
  const [found] = await count.data().finally(() => count.dispose());
  return found;
}

/** @throws NotANumberError if a tensor holds NaN. */
export async function checkNumbers(name: string, x: tf.Tensor, help: string): Promise<void> {
  const count = await countNaN(x);
  if (count > 0) throw new NotANumberError(`generate: ${count} of ${x.size} values of ${name} are NaN; ${help}`);
}

const INSTEAD = 'float32 or bfloat16 instead of float16 helps where numbers grow too large for it';

/** What helps where a network gives NaN. */
export function helpForNetwork(name: string, { weightDtype }: Model<unknown>): string {
  return `the ${name} is in ${weightDtype}, and ${INSTEAD}; else its weights, or what it was given, hold NaN`;
}

/** What makes latents, and pictures of them. */
interface Decoding {
  readonly denoiser: Model<unknown>;
  readonly vae: Autoencoder;
  nameOf(network: Model<unknown>): string;
}

/** Why a picture is NaN, and what helps: by whether the latents are that it was decoded from. */
export async function explainPicture(
  count: number, latents: tf.Tensor, pipe: Decoding,
): Promise<string> {
  const cause = await countNaN(latents) > 0
    ? `so are its latents: ${helpForNetwork(pipe.nameOf(pipe.denoiser), pipe.denoiser)}; detectAnomaly: true finds the step`
    : `its latents are numbers, so it is the VAE: it is in ${pipe.vae.weightDtype}, and ${INSTEAD}, ` +
      'as force_upcast in its config says of some; ' +
      "AutoencoderKL.fromPretrained(..., { dtype: 'float32' }) loads one to pass as vae";
  return `generate: ${count} values of the picture are NaN and drawn black; ${cause}`;
}
