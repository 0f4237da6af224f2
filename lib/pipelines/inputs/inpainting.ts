import * as tf from '@tensorflow/tfjs';
import { checkTensor } from '../../core/check_tensor.js';
import { checkInteger, checkShape, show } from '../../core/checks.js';
import { randn } from '../../core/random.js';
import { cropAndFill, overlay } from '../../image/fit.js';
import { Image } from '../../image/image.js';
import { normalizeLatents, type Autoencoder } from '../../models/autoencoder.js';
import type { Denoiser } from '../../models/denoiser.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { DenoisingStart, DenoisingSteps } from '../run/denoise.js';
import type { GenerateOutput, GenerateRequest, OutputType } from './generate_options.js';
import {
  checkImages, checkTurns, drawLatents, firstGenerators, inTurn, resizeNearest, skipLatents, toMask, toPixels, type ImageInput,
} from './image_input.js';
import { cropRegion } from './mask_crop.js';

/** A picture with the part of it that is to be made anew. */
export interface Painting {
  /** The pictures to change, scaled to `height` and `width`. If they are fewer than the pictures to make, they are taken in turn. */
  image: ImageInput;
  /** White where to change it, black where it stays; pictures, or a tensor `[masks, height, width, 1]` within [0, 1]. */
  maskImage: ImageInput;
  /**
   * How much of what is under the mask to give up, from 0 to 1 (all of it); that share of the steps is taken. By default 1, for Stable
   * Diffusion XL 0.9999, and for Stable Diffusion 3 0.6.
   */
  strength?: number;
  /**
   * Pixels: crops the picture to the part under the mask with this margin around it, works on that part at `height` and `width`, and puts
   * it back into the picture, which keeps its size. Takes one `Image` and one mask of its size.
   */
  paddingMaskCrop?: number;
  /**
   * What the UNet sees around the mask, instead of the picture without what is under the mask: latents scaled as the UNet takes them, or
   * for Stable Diffusion 3 as the VAE gives them, `[images, height / vaeScaleFactor, width / vaeScaleFactor, latent_channels]`, or pixels
   * `[images, height, width, 3]` within [-1, 1] to encode.
   */
  maskedImageLatents?: tf.Tensor;
}

/** The names of these options. */
export const PAINTING_OPTIONS = Object.keys({
  image: true, maskImage: true, strength: true, paddingMaskCrop: true, maskedImageLatents: true,
} satisfies Record<keyof Painting, true>);

/** What paints. */
export interface Painter {
  readonly denoiser: Denoiser;
  readonly vae: Autoencoder;
  readonly vaeScaleFactor: number;
}

/** Where the steps begin. */
export interface PaintingSteps {
  /** Those to take; the scheduler's run begins there. */
  readonly timesteps: (scheduler: Scheduler) => DenoisingSteps;
  /** Whether noise is to be added to the picture, or it is latents with theirs. */
  readonly addsNoise?: boolean;
  /** Whether `maskedImageLatents` are as the VAE gives them, and not as the denoiser knows them. */
  readonly normalizesMasked?: boolean;
}

/** Of a picture, which an option gives, the part that is worked on. @throws TypeError, RangeError unless it is as large as the whole. */
export type Crop = (option: string, picture: ImageInput) => Image;

/** Makes what is asked for from where the function that it is given says; a part of a picture, if `crop` is given. */
export type Paint<R extends GenerateRequest> = (
  request: R, start: (scheduler: Scheduler) => DenoisingStart, crop?: Crop,
) => Promise<GenerateOutput<OutputType>>;

/** How many channels the denoiser may take: it may see the mask and what is around it. */
export function paintingChannels({ vae }: Pick<Painter, 'vae'>): number[] {
  const { latent_channels: channels } = vae.config;
  return [channels, 2 * channels + 1];
}

/** Paints, for a checked request, by `paint`. @throws TypeError, RangeError for pictures and masks that do not fit, before any work. */
export async function inpaint<T extends OutputType, R extends GenerateRequest>(
  painter: Painter, request: R, { paddingMaskCrop, ...painting }: Painting, steps: PaintingSteps, paint: Paint<R>,
): Promise<GenerateOutput<T>> {
  if (paddingMaskCrop === undefined) {
    return paint(request, preparePainting(painter, request, painting, steps)) as Promise<GenerateOutput<T>>;
  }
  const { image, maskImage } = painting;
  const [, height, width] = request.latentShape.map(length => length * painter.vaeScaleFactor);
  const where = `with paddingMaskCrop ${checkInteger('paddingMaskCrop', paddingMaskCrop, 0)}`;
  const whole = checkPart('image', image, where);
  const mask = checkPart('maskImage', maskImage, where, whole);
  if (request.outputType !== 'image') throw new RangeError(`outputType: got ${show(request.outputType)}, takes 'image' ${where}`);
  const box = cropRegion(mask, width, height, paddingMaskCrop);
  const crop: Crop = (name, picture) => cropAndFill(checkPart(name, picture, where, whole), box, width, height);
  const part = { ...painting, image: crop('image', whole.toRgb()), maskImage: crop('maskImage', mask) };
  const start = preparePainting(painter, request, part, steps);
  const { images, ...others } = await paint(request, start, crop) as GenerateOutput<'image'>;
  return { ...others, images: images.map(made => overlay(made, whole, mask, box)) } as GenerateOutput<T>;
}

/** Checks pictures that are taken as a whole, and says where painting on them starts. */
function preparePainting(
  { denoiser, vae, vaeScaleFactor }: Painter, request: GenerateRequest, { image, maskImage, maskedImageLatents, strength }: Painting,
  { timesteps: choose, addsNoise = true, normalizesMasked = false }: PaintingSteps,
): (scheduler: Scheduler) => DenoisingStart {
  const { latentShape, latents, generator, dtype } = request;
  const { latent_channels: channels } = vae.config;
  const [images, rows, columns] = latentShape;
  const [height, width] = [rows * vaeScaleFactor, columns * vaeScaleFactor];
  const { count } = checkImages('image', image, [3, channels]);
  const { count: masks } = checkImages('maskImage', maskImage, [1]);
  checkTurns('image', count, images);
  checkTurns('maskImage', masks, images);
  if (maskedImageLatents) checkMaskedImage(maskedImageLatents, latentShape, [images, height, width, 3]);
  const seesMask = denoiser.config.in_channels !== channels;
  const fromNoise = addsNoise && (strength === 1 || latents !== undefined);
  const imageLatents = image instanceof tf.Tensor && image.shape[3] !== 3 ? image : undefined;
  if (imageLatents) {
    checkShape('image', imageLatents.shape, [null, ...latentShape.slice(1)]);
    if (!maskedImageLatents && seesMask) {
      throw new TypeError('maskedImageLatents: got undefined, takes them where image is latents and the model sees what is around it');
    }
  } else if (!maskedImageLatents && count !== masks && count !== 1 && masks !== 1) {
    throw new RangeError(`maskImage: got ${masks} for ${count} of image, takes as many, or one of either`);
  }

  const startAt = (scheduler: Scheduler, timestep: number) => tf.tidy(() => {
    const generators = (pictures: tf.Tensor) => firstGenerators(generator, pictures.shape[0]);
    const draw = (pictures: tf.Tensor) => inTurn(drawLatents(vae, pictures, generators(pictures)), images);
    const pixels = imageLatents ? undefined : toPixels(image, height, width);
    const mask = toMask(maskImage, height, width);
    const latentMask = inTurn(resizeNearest(mask, rows, columns), images);

    // In diffusers' order, for these draw from the generator.
    const original = seesMask && fromNoise ? undefined : pixels ? draw(pixels) : inTurn(imageLatents!, images);
    const noise = (addsNoise ? latents?.clone() : undefined) ?? randn(latentShape, generator, dtype);
    const begin = fromNoise ? noise.mul(scheduler.initNoiseSigma)
      : addsNoise ? scheduler.addNoise(original!, noise, timestep)
      : original!.clone();
    const around = maskedImageLatents ?? pixels?.mul(tf.sub(1, mask));
    const encoded = around?.shape[3] === channels;
    if (seesMask) {
      const known = encoded ? inTurn(normalizesMasked ? normalizeLatents(vae, around) : around, images) : draw(around!);
      return { latents: begin, condition: tf.concat([latentMask, known], -1) };
    }
    if (around && !encoded) { // what diffusers encodes for nothing
      skipLatents(vae, [around.shape[0], rows, columns, channels], generators(around));
    }
    return { latents: begin, known: { original: original!, noise, mask: latentMask } };
  });
  return scheduler => {
    const steps = choose(scheduler);
    return { ...steps, ...startAt(scheduler, steps.firstTimestep ?? steps.timesteps[0]) };
  };
}

/** @throws TypeError, RangeError naming the option unless it is one picture, as large as another one if there is. */
function checkPart(name: string, picture: ImageInput, where: string, whole = picture): Image {
  if (!(picture instanceof Image)) throw new TypeError(`${name}: takes one Image ${where}, got ${show(picture)}`);
  const { width, height } = whole as Image;
  if (picture.width !== width || picture.height !== height) {
    throw new RangeError(`${name}: got ${picture.width} x ${picture.height} pixels, takes the image's ${width} x ${height} ${where}`);
  }
  return picture;
}

/** @throws RangeError unless it is latents, or pixels, for so many images or fewer to be taken in turn. */
function checkMaskedImage(masked: tf.Tensor, latents: readonly number[], pixels: readonly number[]): void {
  checkTensor('maskedImageLatents', masked, [null, ...(masked.shape?.[3] === 3 ? pixels : latents).slice(1)]);
  checkTurns('maskedImageLatents', masked.shape[0], latents[0]);
}
