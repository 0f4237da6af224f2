import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkOptionNames, checkShape, show } from '../core/checks.js';
import { randn } from '../core/random.js';
import { Image } from '../image/image.js';
import { checkGenerateOptions } from './check_generate_options.js';
import { OPTIONS, type GenerateOptions, type GenerateOutput, type GenerateRequest, type OutputType } from './generate_options.js';
import {
  checkImages, checkStrength, checkTurns, drawLatents, inTurn, lastTimesteps, resizeNearest, skipLatents, toMask, toPixels, type ImageInput,
} from './image_input.js';
import { cropAndFill, cropRegion, overlay } from './mask_crop.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';

/** Options of `generate`: those of the text-to-image pipeline, and a picture with the part of it that is to be made anew. */
export interface InpaintOptions<T extends OutputType = 'image'> extends GenerateOptions<T> {
  /** What to change, scaled to `height` and `width`. Fewer pictures than are to be made are taken in turn. */
  image: ImageInput;
  /** White where to change it, black where it stays; pictures, or a tensor `[masks, height, width, 1]` within [0, 1]. */
  maskImage: ImageInput;
  /** How much of what is under the mask to give up, from 0 to 1 (all of it, the default); so large a share of the steps is taken. */
  strength?: number;
  /**
   * Works on the part that the mask changes alone, with so many pixels around it, as large as `height` and `width` allow, and puts it back into
   * the picture, which keeps its size. Takes one `Image` and one mask of its size.
   */
  paddingMaskCrop?: number;
  /**
   * What the UNet sees around the mask, instead of the picture without what is under the mask: latents as it knows them,
   * `[images, height / vaeScaleFactor, width / vaeScaleFactor, latent_channels]`, or pixels `[images, height, width, 3]` within [-1, 1] to encode.
   */
  maskedImageLatents?: tf.Tensor;
}

const INPAINT_OPTIONS = [...OPTIONS, 'image', 'maskImage', 'strength', 'paddingMaskCrop', 'maskedImageLatents'];

/**
 * Inpainting: makes a part of a picture anew, along a prompt. With a UNet that was trained for it (it sees the mask and the rest of the
 * picture in 5 more channels) as with any other (after each step, the rest is put back).
 * Equals diffusers' StableDiffusionInpaintPipeline without safety checker.
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionPipeline {
  /** Makes images of a picture, a mask and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: InpaintOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, INPAINT_OPTIONS);
    const { image, maskImage, strength = 1, paddingMaskCrop, maskedImageLatents, ...others } = options;
    const { latent_channels: channels } = this.vae.config;
    const request = { ...checkGenerateOptions(this, prompt, others, [channels, 2 * channels + 1]), strength };
    const left = checkStrength(strength, request.numInferenceSteps);
    if (paddingMaskCrop === undefined) return this.paint(request, { image, maskImage, maskedImageLatents, left });

    const [, height, width] = request.latentShape.map(length => length * this.vaeScaleFactor);
    const [whole, mask] = checkCrop(image, maskImage, checkInteger('paddingMaskCrop', paddingMaskCrop, 0), request.outputType);
    const box = cropRegion(mask, width, height, paddingMaskCrop);
    const [part, partMask] = [whole.toRgb(), mask].map(each => cropAndFill(each, box, width, height));
    const { images } = await this.paint<'image'>(request, { image: part, maskImage: partMask, maskedImageLatents, left });
    return { images: images.map(made => overlay(made, whole, mask, box)) } as GenerateOutput<T>;
  }

  /** `generate`, with options that are checked, for pictures that are taken as a whole. */
  private paint<T extends OutputType>(request: GenerateRequest, { image, maskImage, maskedImageLatents, left }: Painting): Promise<GenerateOutput<T>> {
    const { numInferenceSteps, latentShape, latents, generator, dtype, strength } = request;
    const { latent_channels: channels } = this.vae.config;
    const [images, rows, columns] = latentShape;
    const [height, width] = [rows * this.vaeScaleFactor, columns * this.vaeScaleFactor];
    const { count } = checkImages('image', image, [3, channels]);
    const { count: masks } = checkImages('maskImage', maskImage, [1]);
    checkTurns('image', count, images);
    checkTurns('maskImage', masks, images);
    if (maskedImageLatents) checkMaskedImage(maskedImageLatents, latentShape, [images, height, width, 3]);
    const imageLatents = image instanceof tf.Tensor && image.shape[3] !== 3 ? image : undefined;
    if (imageLatents) {
      checkShape('image', imageLatents.shape, [null, ...latentShape.slice(1)]);
      if (!maskedImageLatents) throw new TypeError('maskedImageLatents: got undefined, takes them where image is latents');
    } else if (!maskedImageLatents && count !== masks && count !== 1 && masks !== 1) {
      throw new RangeError(`maskImage: got ${masks} for ${count} of image, takes as many, or one of either`);
    }
    const seesMask = this.unet.config.in_channels !== channels;

    return this.run(request, scheduler => tf.tidy(() => {
      const { vae } = this;
      const generators = (pictures: tf.Tensor) => Array.isArray(generator) ? generator.slice(0, pictures.shape[0]) : generator;
      const draw = (pictures: tf.Tensor) => inTurn(drawLatents(vae, pictures, generators(pictures)), images);
      const timesteps = lastTimesteps(scheduler, numInferenceSteps, left);
      const pixels = imageLatents ? undefined : toPixels(image, height, width);
      const mask = toMask(maskImage, height, width);
      const latentMask = inTurn(resizeNearest(mask, rows, columns), images);

      // In diffusers' order, for these draw from the generator.
      const original = seesMask && (strength === 1 || latents) ? undefined : pixels ? draw(pixels) : inTurn(imageLatents!, images);
      const noise = latents?.clone() ?? randn(latentShape, generator, dtype);
      const begin = strength === 1 || latents ? noise.mul(scheduler.initNoiseSigma) : scheduler.addNoise(original!, noise, timesteps[0]);
      const around = maskedImageLatents ?? pixels!.mul(tf.sub(1, mask));
      const encoded = around.shape[3] === channels;
      if (seesMask) return { timesteps, latents: begin, condition: tf.concat([latentMask, encoded ? inTurn(around, images) : draw(around)], -1) };
      if (!encoded) skipLatents(vae, [around.shape[0], rows, columns, channels], generators(around)); // what diffusers encodes for nothing
      return { timesteps, latents: begin, known: { original: original!, noise, mask: latentMask } };
    }));
  }
}

/** What to paint on: `left` steps of the request's. */
interface Painting extends Pick<InpaintOptions, 'image' | 'maskImage' | 'maskedImageLatents'> {
  left: number;
}

/** @throws TypeError or RangeError unless there is one picture, a mask of its size, and a picture to make. */
function checkCrop(image: ImageInput, maskImage: ImageInput, padding: number, outputType: OutputType): [Image, Image] {
  const where = `with paddingMaskCrop ${padding}`;
  if (!(image instanceof Image)) throw new TypeError(`image: takes one Image ${where}, got ${show(image)}`);
  if (!(maskImage instanceof Image)) throw new TypeError(`maskImage: takes one Image ${where}, got ${show(maskImage)}`);
  if (image.width !== maskImage.width || image.height !== maskImage.height) {
    throw new RangeError(`maskImage: got ${maskImage.width} x ${maskImage.height} pixels, takes the image's ${image.width} x ${image.height} ${where}`);
  }
  if (outputType !== 'image') throw new RangeError(`outputType: got ${show(outputType)}, takes 'image' ${where}`);
  return [image, maskImage];
}

/** @throws RangeError unless it is latents, or pixels, for so many images or fewer to be taken in turn. */
function checkMaskedImage(masked: tf.Tensor, latents: readonly number[], pixels: readonly number[]): void {
  checkShape('maskedImageLatents', masked.shape, [null, ...(masked.shape[3] === 3 ? pixels : latents).slice(1)]);
  checkTurns('maskedImageLatents', masked.shape[0], latents[0]);
}
