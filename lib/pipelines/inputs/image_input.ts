import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkShape, show } from '../../core/checks.js';
import { randn, type Generator } from '../../core/random.js';
import { Image } from '../../image/image.js';
import { toGrey } from '../../image/pixels.js';
import type { ResizeFilter } from '../../image/resize.js';
import { normalizeLatents, retrieveLatents, type Autoencoder } from '../../models/autoencoder.js';
import { AutoencoderKL } from '../../models/autoencoder_kl.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { DenoisingStart } from '../run/denoise.js';
import type { GenerateRequest } from './generate_options.js';

/**
 * One or more pictures; all are resized to the first one's size. Or a tensor `[images, height, width, 3]` within [0, 1], which stays yours.
 */
export type ImageInput = Image | Image[] | tf.Tensor;

/** How many pictures there are, and how large the first is. */
export interface ImageInputSize {
  count: number;
  height: number;
  width: number;
}

/** @throws TypeError, RangeError naming the option, unless it is pictures, or a tensor with one of these numbers of channels. */
export function checkImages(name: string, input: ImageInput, channels: readonly number[]): ImageInputSize {
  if (input && (input as tf.Tensor).rank !== undefined) {
    const { shape } = input as tf.Tensor;
    checkShape(name, shape, [null, null, null, channels.includes(shape[3]!) ? shape[3]! : channels[0]]);
    return { count: shape[0], height: shape[1]!, width: shape[2]! };
  }
  const images = [input as Image | Image[]].flat();
  if (images.length === 0 || !images.every(image => image instanceof Image)) {
    const last = channels.join(' or ');
    throw new TypeError(`${name}: got ${show(input)}, takes an Image, a list of them or a tensor [images, height, width, ${last}]`);
  }
  return { count: images.length, height: images[0].height, width: images[0].width };
}

/** @throws RangeError unless `count` pictures can be taken in turn for `images`. */
export function checkTurns(name: string, count: number, images: number): void {
  if (images % count !== 0) {
    throw new RangeError(`${name}: got ${count}, takes a number that divides ${images}, which is how many are to be made`);
  }
}

/** How many of so many steps are left from a picture on. @throws RangeError unless `strength` is from 0 to 1 and leaves a step. */
export function checkStrength(strength: number, steps: number): number {
  const left = Math.min(Math.floor(steps * strength), steps);
  if (!(strength >= 0 && strength <= 1)) throw new RangeError(`strength: got ${show(strength)}, takes a number from 0 to 1`);
  if (left < 1) throw new RangeError(`strength: got ${strength}, which leaves none of ${steps} steps, takes ${1 / steps} or more`);
  return left;
}

/** The timesteps of the last `left` of so many steps; the scheduler's run begins there. Equals get_timesteps of diffusers' pipelines. */
export function lastTimesteps(scheduler: Scheduler, steps: number, left: number): number[] {
  const begin = (steps - left) * scheduler.order;
  scheduler.setBeginIndex(begin);
  return scheduler.timesteps.slice(begin);
}

/** As `resizePixels`, within [-1, 1]. */
export function toPixels(input: ImageInput, height: number, width: number, filter?: ResizeFilter): tf.Tensor {
  return tf.tidy(() => resizePixels(input, height, width, filter).mul(2).sub(1));
}

/**
 * `[images, height, width, 3]` within [0, 1]. Equals load_image, which drops transparency, and VaeImageProcessor.preprocess: Lanczos or
 * another filter for pictures, the nearest pixel for tensors.
 */
export function resizePixels(input: ImageInput, height: number, width: number, filter?: ResizeFilter): tf.Tensor {
  return isTensor(input)
    ? resizeNearest(input, height, width)
    : Image.toTensor([input].flat().map(image => image.toRgb().resize(width, height, filter)));
}

/** As `resizePixels`, but how bright pictures are, `[images, height, width, 1]`; a tensor has one channel already. */
export function resizeGrey(input: ImageInput, height: number, width: number): tf.Tensor {
  return tf.tidy(() => isTensor(input)
    ? resizeNearest(input, height, width)
    : toPlanes([input].flat().map(image => toGrey(image.toRgb().resize(width, height).data)), height, width).div(255));
}

/** `[masks, height, width, 1]`: 1 where the mask is white, 0 where black, the nearer between. Equals the pipeline's mask_processor. */
export function toMask(input: ImageInput, height: number, width: number): tf.Tensor {
  return tf.tidy(() => {
    if (isTensor(input)) return resizeNearest(input, height, width).greaterEqual(0.5).cast('float32');
    return toPlanes([input].flat().map(mask => toGrey(mask.resize(width, height).data).map(value => value < 128 ? 0 : 1)), height, width);
  });
}

/** `[planes, height, width, 1]`, of a byte a pixel. */
function toPlanes(planes: readonly Uint8Array[], height: number, width: number): tf.Tensor {
  return tf.stack(planes.map(plane => tf.tensor3d(plane, [height, width, 1], 'float32')));
}

/** The nearest pixel of each new one, as torch's interpolate counts them. */
export function resizeNearest(x: tf.Tensor, height: number, width: number): tf.Tensor {
  return tf.image.resizeNearestNeighbor(x as tf.Tensor4D, [height, width]);
}

/** Pictures, or their latents, as the beginning of others. */
export interface StartingPictures {
  count: number;
  /** Pixels: multiples of the VAE's scale factor. */
  height: number;
  width: number;
  /** Their latents as the UNet knows them, drawn if they are not given. */
  latents(generator?: Generator | Generator[]): tf.Tensor;
  /** Their most likely latents as the VAE knows them, not scaled, or those that are given. */
  mode(): tf.Tensor;
}

/**
 * @param filter of pictures, to multiples of the VAE's scale factor; Lanczos by default.
 * @throws TypeError, RangeError unless it is pictures, or a tensor of their pixels within [0, 1] or of their latents.
 */
export function startingPictures(vae: Autoencoder, image: ImageInput, filter?: ResizeFilter): StartingPictures {
  const { scaleFactor: factor, config: { latent_channels: channels } } = vae;
  const { count, ...size } = checkImages('image', image, [3, channels]);
  const latents = isTensor(image) && image.shape[3] !== 3 ? image : undefined;
  const whole = (length: number) => latents ? length * factor : wholeSide(length, factor);
  return resizedPictures(vae, image, latents, { count, height: whole(size.height), width: whole(size.width) }, filter);
}

/** The same, as large as `latentShape` has them. @throws as `startingPictures`. */
export function fittingPictures(
  vae: Autoencoder, image: ImageInput, [, rows, columns, channels]: GenerateRequest['latentShape'],
): StartingPictures {
  const { count } = checkImages('image', image, [3, channels]);
  const latents = isTensor(image) && image.shape[3] !== 3 ? image : undefined;
  if (latents) checkShape('image', latents.shape, [null, rows, columns, channels]);
  return resizedPictures(vae, image, latents, { count, height: rows * vae.scaleFactor, width: columns * vae.scaleFactor });
}

function resizedPictures(
  vae: Autoencoder, image: ImageInput, latents: tf.Tensor | undefined, size: ImageInputSize, filter?: ResizeFilter,
): StartingPictures {
  const pixels = () => toPixels(image, size.height, size.width, filter);
  return {
    ...size,
    latents: generator => latents?.clone() ?? tf.tidy(() => drawLatents(vae, pixels(), generator)),
    mode: () => latents?.clone() ?? tf.tidy(() => retrieveLatents(vae.encode(pixels()), null)),
  };
}

/** So many pixels as a picture's side becomes: rounded down to a multiple of the VAE's factor, once that at least. */
export function wholeSide(pixels: number, factor: number): number {
  return Math.max(factor, pixels - pixels % factor);
}

/** Where denoising starts from pictures: with as much noise on them as the first of `timesteps` has. */
export function startFromPictures(
  pictures: StartingPictures, { latentShape, generator, dtype }: GenerateRequest, scheduler: Scheduler, timesteps: number[],
): DenoisingStart {
  return tf.tidy(() => {
    const original = pictures.latents(generator);
    const noise = randn(latentShape, generator, dtype);
    return { timesteps, latents: scheduler.addNoise(inTurn(original, latentShape[0]), noise, timesteps[0]) };
  });
}

/** Draws latents of pictures, as the UNet knows them: `[images, height / scaleFactor, width / scaleFactor, channels]`. */
export function drawLatents(vae: Autoencoder, pixels: tf.Tensor, generator?: Generator | Generator[]): tf.Tensor {
  return tf.tidy(() => normalizeLatents(vae, retrieveLatents(vae.encode(pixels), generator)));
}

/** Draws what `drawLatents` draws for latents of this shape, and nothing else. */
export function skipLatents(vae: Autoencoder, latentShape: readonly number[], generator?: Generator | Generator[]): void {
  if (vae instanceof AutoencoderKL) randn(latentShape, generator, vae.weightDtype).dispose(); // the tiny one draws nothing
}

/** Of generators for each image those of the first `count`, or the one for all. */
export function firstGenerators(generator: Generator | Generator[] | undefined, count: number): Generator | Generator[] | undefined {
  return Array.isArray(generator) ? generator.slice(0, count) : generator;
}

/** `images` of those that there are, one after the other and then from the first again. */
export function inTurn(x: tf.Tensor, images: number): tf.Tensor {
  return tf.tile(x, [checkInteger('turns', images / x.shape[0], 1), 1, 1, 1]);
}

export function isTensor(input: ImageInput): input is tf.Tensor {
  return (input as tf.Tensor).rank !== undefined;
}
