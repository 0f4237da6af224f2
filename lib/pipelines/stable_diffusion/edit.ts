import * as tf from '@tensorflow/tfjs';
import { checkNumber } from '../../core/checks.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { DenoisingStart } from '../run/denoise.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import { PAG_OPTIONS } from '../inputs/perturbed_attention.js';
import { towardsPicture } from '../run/guidance.js';
import { prepareLatents } from '../base/guided_pipeline.js';
import { checkTurns, inTurn, type ImageInput, type StartingPictures } from '../inputs/image_input.js';

/** A picture that a text says how to change. */
export interface Edit {
  /**
   * The pictures to change. Pictures that are fewer than those to make are taken in turn. They can also be latents as the VAE gives them,
   * not scaled: a tensor `[images, height, width, latent_channels]`.
   */
  image: ImageInput;
  /** How closely to keep to the picture, 1.5 by default; below 1 there is no guidance at all, as with a `guidanceScale` of 1. */
  imageGuidanceScale?: number;
}

const IMAGE_GUIDANCE_SCALE = 1.5;

const EDIT_OPTIONS = Object.keys({ image: true, imageGuidanceScale: true } satisfies Record<keyof Edit, true>);

/** The names of a pipeline's options, of those of one without such a picture: it guides in a way of its own, as in diffusers. */
export function editOptions(options: readonly string[]): string[] {
  return [...options.filter(option => !PAG_OPTIONS.includes(option)), ...EDIT_OPTIONS];
}

/** How many channels the UNet takes: it sees the picture behind the latents. */
export function editChannels({ config: { latent_channels: channels } }: Autoencoder): number[] {
  return [2 * channels];
}

/** With which scales of the text to guide. @throws RangeError for an `imageGuidanceScale` that is no number. */
export function editGuides(imageGuidanceScale = IMAGE_GUIDANCE_SCALE): (guidanceScale: number) => boolean {
  const imageScale = checkNumber('imageGuidanceScale', imageGuidanceScale);
  return guidanceScale => guidanceScale > 1 && imageScale >= 1;
}

/** What to make, guided by the picture too, and where denoising starts: from noise beside it. @throws RangeError for what does not fit. */
export function prepareEdit<R extends GenerateRequest>(
  request: R, pictures: StartingPictures, imageGuidanceScale = IMAGE_GUIDANCE_SCALE, latentScale = 1,
): [R, (scheduler: Scheduler) => DenoisingStart] {
  const { guided, guidanceScale: scale, guidanceRescale: rescale, latentShape: [images, , , channels] } = request;
  checkTurns('image', pictures.count, images);
  const guidance = guided ? towardsPicture({ scale, rescale }, imageGuidanceScale, channels) : request.guidance;
  return [{ ...request, guidance }, scheduler => tf.tidy(() => ({
    timesteps: scheduler.timesteps,
    latents: prepareLatents(request, scheduler),
    condition: inTurn(pictures.mode().mul(latentScale), images),
  }))];
}
