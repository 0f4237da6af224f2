import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkShape, show } from '../core/checks.js';
import { randn } from '../core/random.js';
import { Image } from '../image/image.js';
import type { Scheduler } from '../schedulers/scheduler.js';
import type { StableDiffusionComponents } from './components.js';
import type { DenoisingStart } from './denoise.js';
import type { GenerateOutput, GenerateRequest, OutputType } from './generate_options.js';
import {
  checkImages, checkTurns, drawLatents, inTurn, resizeNearest, skipLatents, toMask, toPixels, type ImageInput,
} from './image_input.js';
import { cropAndFill, cropRegion, overlay } from './mask_crop.js';

/** A picture with the part of it that is to be made anew. */
export interface Painting {
  /** What to change, scaled to `height` and `width`. Fewer pictures than are to be made are taken in turn. */
  image: ImageInput;
  /** White where to change it, black where it stays; pictures, or a tensor `[masks, height, width, 1]` within [0, 1]. */
  maskImage: ImageInput;
  /** How much of what is under the mask to give up, from 0 to 1 (all of it, the default); so large a share of the steps is taken. */
  strength?: number;
  /**
   * Works on the part that the mask changes alone, with so many pixels around it, as large as `height` and `width` allow, and puts it back
   * into the picture, which keeps its size. Takes one `Image` and one mask of its size.
   */
  paddingMaskCrop?: number;
  /**
   * What the UNet sees around the mask, instead of the picture without what is under the mask: latents as it knows them,
   * `[images, height / vaeScaleFactor, width / vaeScaleFactor, latent_channels]`, or pixels `[images, height, width, 3]` within [-1, 1] to
   * encode.
   */
  maskedImageLatents?: tf.Tensor;
}

/** The names of these options. */
export const PAINTING_OPTIONS = Object.keys({
  image: true, maskImage: true, strength: true, paddingMaskCrop: true, maskedImageLatents: true,
} satisfies Record<keyof Painting, true>);

/** What paints. */
interface Painter extends Pick<StableDiffusionComponents, 'unet' | 'vae'> {
  readonly vaeScaleFactor: number;
}

/** Where the steps begin. */
export interface PaintingSteps {
  /** Those to take; the scheduler's run begins there. */
  readonly timesteps: (scheduler: Scheduler) => number[];
  /** Whether noise is to be added to the picture, or it is latents with theirs. */
  readonly addsNoise?: boolean;
}

/** Makes pictures from where the function that it is given says. */
type Run = (start: (scheduler: Scheduler) => DenoisingStart) => Promise<GenerateOutput<OutputType>>;

/** How many channels the UNet may take: it may see the mask and what is around it. */
export function paintingChannels({ vae }: Painter): number[] {
  const { latent_channels: channels } = vae.config;
  return [channels, 2 * channels + 1];
}

/** Paints, for a checked request, by `run`. @throws TypeError, RangeError for pictures and masks that do not fit, before any work. */
export async function inpaint<T extends OutputType>(
  painter: Painter, request: GenerateRequest, { paddingMaskCrop, ...painting }: Painting, steps: PaintingSteps, run: Run,
): Promise<GenerateOutput<T>> {
  if (paddingMaskCrop === undefined) return run(preparePainting(painter, request, painting, steps)) as Promise<GenerateOutput<T>>;
  const { image, maskImage } = painting;
  const [, height, width] = request.latentShape.map(length => length * painter.vaeScaleFactor);
  const [whole, mask] = checkCrop(image, maskImage, checkInteger('paddingMaskCrop', paddingMaskCrop, 0), request.outputType);
  const box = cropRegion(mask, width, height, paddingMaskCrop);
  const [part, partMask] = [whole.toRgb(), mask].map(each => cropAndFill(each, box, width, height));
  const start = preparePainting(painter, request, { ...painting, image: part, maskImage: partMask }, steps);
  const { images } = await run(start) as GenerateOutput<'image'>;
  return { images: images.map(made => overlay(made, whole, mask, box)) } as GenerateOutput<T>;
}

/** Checks pictures that are taken as a whole, and says where painting on them starts. */
function preparePainting(
  { unet, vae, vaeScaleFactor }: Painter, request: GenerateRequest, { image, maskImage, maskedImageLatents, strength }: Painting,
  { timesteps: choose, addsNoise = true }: PaintingSteps,
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
  const seesMask = unet.config.in_channels !== channels;
  const fromNoise = addsNoise && (strength === 1 || latents !== undefined);
  const imageLatents = image instanceof tf.Tensor && image.shape[3] !== 3 ? image : undefined;
  if (imageLatents) {
    checkShape('image', imageLatents.shape, [null, ...latentShape.slice(1)]);
    if (!maskedImageLatents && seesMask) {
      throw new TypeError('maskedImageLatents: got undefined, takes them where image is latents and the unet sees what is around the mask');
    }
  } else if (!maskedImageLatents && count !== masks && count !== 1 && masks !== 1) {
    throw new RangeError(`maskImage: got ${masks} for ${count} of image, takes as many, or one of either`);
  }

  return scheduler => tf.tidy(() => {
    const generators = (pictures: tf.Tensor) => Array.isArray(generator) ? generator.slice(0, pictures.shape[0]) : generator;
    const draw = (pictures: tf.Tensor) => inTurn(drawLatents(vae, pictures, generators(pictures)), images);
    const timesteps = choose(scheduler);
    const pixels = imageLatents ? undefined : toPixels(image, height, width);
    const mask = toMask(maskImage, height, width);
    const latentMask = inTurn(resizeNearest(mask, rows, columns), images);

    // In diffusers' order, for these draw from the generator.
    const original = seesMask && fromNoise ? undefined : pixels ? draw(pixels) : inTurn(imageLatents!, images);
    const noise = latents?.clone() ?? randn(latentShape, generator, dtype);
    const begin = fromNoise ? noise.mul(scheduler.initNoiseSigma)
      : addsNoise ? scheduler.addNoise(original!, noise, timesteps[0])
      : original!.clone();
    const around = maskedImageLatents ?? pixels?.mul(tf.sub(1, mask));
    const encoded = around?.shape[3] === channels;
    if (seesMask) {
      return { timesteps, latents: begin, condition: tf.concat([latentMask, encoded ? inTurn(around, images) : draw(around!)], -1) };
    }
    if (around && !encoded) { // what diffusers encodes for nothing
      skipLatents(vae, [around.shape[0], rows, columns, channels], generators(around));
    }
    return { timesteps, latents: begin, known: { original: original!, noise, mask: latentMask } };
  });
}

/** @throws TypeError or RangeError unless there is one picture, a mask of its size, and a picture to make. */
function checkCrop(image: ImageInput, maskImage: ImageInput, padding: number, outputType: OutputType): [Image, Image] {
  const where = `with paddingMaskCrop ${padding}`;
  if (!(image instanceof Image)) throw new TypeError(`image: takes one Image ${where}, got ${show(image)}`);
  if (!(maskImage instanceof Image)) throw new TypeError(`maskImage: takes one Image ${where}, got ${show(maskImage)}`);
  if (image.width !== maskImage.width || image.height !== maskImage.height) {
    const [got, takes] = [maskImage, image].map(({ width, height }) => `${width} x ${height}`);
    throw new RangeError(`maskImage: got ${got} pixels, takes the image's ${takes} ${where}`);
  }
  if (outputType !== 'image') throw new RangeError(`outputType: got ${show(outputType)}, takes 'image' ${where}`);
  return [image, maskImage];
}

/** @throws RangeError unless it is latents, or pixels, for so many images or fewer to be taken in turn. */
function checkMaskedImage(masked: tf.Tensor, latents: readonly number[], pixels: readonly number[]): void {
  checkShape('maskedImageLatents', masked.shape, [null, ...(masked.shape[3] === 3 ? pixels : latents).slice(1)]);
  checkTurns('maskedImageLatents', masked.shape[0], latents[0]);
}
