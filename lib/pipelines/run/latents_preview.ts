import * as tf from '@tensorflow/tfjs';
import { Image } from '../../image/image.js';
import { normalizeLatents, retrieveLatents, type Autoencoder } from '../../models/autoencoder.js';

const LEVELS = 4; // of each of red, green and blue: 64 colours
const PATCHES = LEVELS ** 1.5; // along each side of the chart
const PATCH = 2; // latents along each side of a patch
const RIDGE = 0.1; // of a latent's variance, which is about 1

/**
 * A cheap look at latents while they are denoised: one linear map from a latent's channels to a colour, a pixel for each latent.
 * The map is fitted to the autoencoder by least squares over a chart of 64 colours, so it suits any.
 */
export class LatentsPreview {
  private tensors?: { readonly weights: tf.Tensor2D; readonly bias: tf.Tensor1D };

  /**
   * Makes a preview of what `fit` found, for instance in another thread.
   * @param coefficients `[channels + 1][3]`, the constants last, to colours within [0, 1].
   * @param scaleFactor how many pixels of a picture stand along each side of a latent.
   */
  constructor(readonly coefficients: ReadonlyArray<readonly number[]>, readonly scaleFactor: number) {}

  /** Encodes the chart with `vae`, once: 128 x 128 pixels where the latents are 8 times smaller. */
  static async fit(vae: Autoencoder): Promise<LatentsPreview> {
    const side = PATCHES * PATCH;
    const colours = chart(side);
    const latents = tf.tidy(() => {
      const picture = tf.tensor4d(colours, [1, side, side, 3]);
      const pixels = tf.image.resizeNearestNeighbor(picture, [side * vae.scaleFactor, side * vae.scaleFactor]);
      return normalizeLatents(vae, retrieveLatents(vae.encode(pixels.mul(2).sub(1)), null));
    });
    const values = await latents.data().finally(() => latents.dispose());
    return new LatentsPreview(leastSquares(values, colours, vae.config.latent_channels), vae.scaleFactor);
  }

  /**
   * Latents as the pipeline has them, `[batch, height, width, channels]`, to pictures of `width` x `height` pixels.
   * They stay the caller's.
   */
  async toImages(latents: tf.Tensor): Promise<Image[]> {
    const [batch, height, width, channels] = latents.shape;
    const { weights, bias } = this.tensors ??= {
      weights: tf.tensor2d(this.coefficients.slice(0, -1).map(row => [...row])), bias: tf.tensor1d([...this.coefficients.at(-1)!]),
    };
    const colours = tf.tidy(() => {
      const flat = latents.reshape([-1, channels]) as tf.Tensor2D;
      return flat.matMul(weights).add(bias).reshape([batch, height, width, 3]);
    });
    return Image.fromTensor(colours).finally(() => colours.dispose());
  }

  /** Frees what it keeps on the device; it can still be used. */
  dispose(): void {
    tf.dispose(this.tensors);
    this.tensors = undefined;
  }
}

/** `side * side` colours in patches, neighbours unlike each other. */
function chart(side: number): Float32Array {
  const colours = new Float32Array(side * side * 3);
  for (let i = 0; i < side * side; i++) {
    const patch = Math.floor(Math.floor(i / side) / PATCH) * PATCHES + Math.floor((i % side) / PATCH);
    const colour = (patch * 23) % LEVELS ** 3; // 23 shares no factor with 64: every colour comes once
    for (let c = 0; c < 3; c++) colours[i * 3 + c] = Math.floor(colour / LEVELS ** c) % LEVELS / (LEVELS - 1);
  }
  return colours;
}

/**
 * The `[channels + 1][3]` coefficients, the constant last, that take `inputs` nearest to `outputs`: normal equations, by Gauss and Jordan.
 * Coefficients have a price (ridge regression), or a channel that hardly varies on the chart would shout on a picture.
 */
function leastSquares(inputs: ArrayLike<number>, outputs: ArrayLike<number>, channels: number): number[][] {
  const size = channels + 1;
  const rows = Array.from({ length: size }, () => new Array<number>(size + 3).fill(0));
  for (let i = 0; i < inputs.length / channels; i++) {
    const sample = [...Array.from({ length: channels }, (_, c) => inputs[i * channels + c]), 1, ...[0, 1, 2].map(c => outputs[i * 3 + c])];
    rows.forEach((row, r) => sample.forEach((value, c) => { row[c] += sample[r] * value; }));
  }
  for (let c = 0; c < channels; c++) rows[c][c] += RIDGE * inputs.length / channels;
  rows.forEach((row, r) => {
    const pivot = row[r];
    row.forEach((value, c) => { row[c] = value / pivot; });
    rows.forEach((other, o) => {
      const factor = other[r];
      if (o !== r) row.forEach((value, c) => { other[c] -= factor * value; });
    });
  });
  return rows.map(row => row.slice(size));
}
