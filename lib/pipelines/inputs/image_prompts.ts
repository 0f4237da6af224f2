import * as tf from '@tensorflow/tfjs';
import { checkTensor } from '../../core/check_tensor.js';
import { checkShape, show } from '../../core/checks.js';
import { Image } from '../../image/image.js';
import type { ImageTokens } from '../../layers/image_projection.js';
import type { ImagePrompts } from '../../layers/ip_adapter_attention.js';
import type { CLIPImageProcessor } from '../../models/clip_image_processor.js';
import type { CLIPVisionModelWithProjection } from '../../models/clip_vision_model.js';
import type { UNet2DConditionModel } from '../../models/unet_2d_condition_model.js';
import { repeatEach } from './encode_prompt.js';
import { checkImages, toMask, type ImageInput } from './image_input.js';
import type { ImagePrompt, ImagePromptOptions, ImagePromptRequest } from './image_prompt_options.js';

/** The components of a pipeline that read pictures. */
export interface ImageReader {
  readonly unet: UNet2DConditionModel;
  readonly imageEncoder?: CLIPVisionModelWithProjection;
  readonly featureExtractor?: CLIPImageProcessor;
}

/** @throws TypeError, RangeError naming the option that does not fit. */
export function checkImagePrompts(pipe: ImageReader, options: ImagePromptOptions, guided: boolean): ImagePromptRequest | undefined {
  const { ipAdapterImage: image, ipAdapterImageEmbeds: embeds, ipAdapterMasks: masks } = options;
  const projections = pipe.unet.ipAdapters?.projections;
  if (!projections) {
    const all = { ipAdapterImage: image, ipAdapterImageEmbeds: embeds, ipAdapterMasks: masks };
    const [given] = Object.entries(all).find(([, value]) => value !== undefined) ?? [];
    if (given) throw new TypeError(`${given}: takes nothing without an IP-Adapter; call loadIpAdapter first`);
    return undefined;
  }
  if ((image === undefined) === (embeds === undefined)) {
    const got = image === undefined ? 'neither ipAdapterImage nor' : 'both ipAdapterImage and';
    throw new TypeError(`ipAdapterImage: got ${got} ipAdapterImageEmbeds, takes one of the two while an IP-Adapter is loaded`);
  }
  const prompts = embeds ? checkEmbeds(projections, embeds, guided) : checkPictures(pipe, projections, image!);
  const counts = prompts.map(prompt => 'embeds' in prompt ? prompt.embeds.shape[1]! : countPictures(prompt.images));
  if (masks) checkMasks(pipe.unet, masks, counts);
  projections.forEach((_, i) => {
    const scales = pipe.unet.ipAdapters!.scaleCount(i);
    if (scales === 1 || (masks?.[i] && scales === counts[i])) return;
    const got = masks?.[i] ? `${counts[i]} masks` : 'no masks';
    throw new RangeError(`ipAdapterMasks: got ${got} for IP-Adapter ${i}, takes ${scales}, one for each number of setIpAdapterScale`);
  });
  return { prompts, masks };
}

function checkPictures(
  { imageEncoder, featureExtractor }: ImageReader, projections: readonly ImageTokens[], image: Image | tf.Tensor | readonly ImagePrompt[],
): Array<{ images: ImagePrompt }> {
  const list = Array.isArray(image) ? image as ImagePrompt[] : [image as ImagePrompt];
  checkCount('ipAdapterImage', 'pictures, or lists of such', list, projections);
  if (!imageEncoder || !featureExtractor) {
    throw new TypeError('ipAdapterImage: takes an image encoder to read it, and there is none; give the pipeline an imageEncoder and a ' +
      'featureExtractor, or take ipAdapterImageEmbeds');
  }
  const { hidden_size, projection_dim, image_size, num_channels } = imageEncoder.config;
  projections.forEach(({ readsStates, inFeatures }) => {
    const features = readsStates ? hidden_size : projection_dim;
    if (features === inFeatures) return;
    throw new RangeError(`imageEncoder: gives ${features} features, the IP-Adapter takes ${inFeatures}: it is for another image encoder`);
  });
  return list.map(images => {
    const some = [images].flat() as Array<Image | tf.Tensor>;
    if (some.length === 1 && some[0] instanceof tf.Tensor) {
      checkShape('ipAdapterImage', some[0].shape, [null, image_size, image_size, num_channels]);
    } else if (some.length === 0 || !some.every(each => each instanceof Image)) {
      throw new TypeError(`ipAdapterImage: got ${show(images)}, takes an Image, or for each IP-Adapter one or a list of them`);
    }
    return { images };
  });
}

function checkEmbeds(projections: readonly ImageTokens[], embeds: readonly tf.Tensor[], guided: boolean): Array<{ embeds: tf.Tensor }> {
  if (!Array.isArray(embeds)) throw new TypeError(`ipAdapterImageEmbeds: got ${show(embeds)}, takes a list of tensors`);
  checkCount('ipAdapterImageEmbeds', 'tensors', embeds, projections);
  return (embeds as tf.Tensor[]).map((each, i) => {
    const { readsStates, inFeatures } = projections[i];
    checkTensor('ipAdapterImageEmbeds', each, [guided ? 2 : 1, null, ...readsStates ? [null] : [], inFeatures]);
    return { embeds: each };
  });
}

function checkMasks(unet: UNet2DConditionModel, masks: ReadonlyArray<ImageInput | undefined>, counts: readonly number[]): void {
  if (!Array.isArray(masks)) throw new TypeError(`ipAdapterMasks: got ${show(masks)}, takes a list`);
  checkCount('ipAdapterMasks', 'masks, or lists of such', masks, counts);
  masks.forEach((mask: ImageInput | undefined, i) => {
    if (mask === undefined) return;
    const { count } = checkImages('ipAdapterMasks', mask, [1]);
    if (count !== counts[i]) {
      throw new RangeError(`ipAdapterMasks: got ${count} masks for IP-Adapter ${i}, takes ${counts[i]}, one for each of its pictures`);
    }
  });
  if (unet.mergesCrossAttention) {
    throw new RangeError('ipAdapterMasks: does not go together with enableTokenMerging({ mergeCrossattn: true }), ' +
      'by which parts of the picture have no place of their own');
  }
}

function checkCount(name: string, things: string, list: readonly unknown[], adapters: readonly unknown[]): void {
  if (list.length === adapters.length) return;
  throw new RangeError(`${name}: got a list of ${list.length}, takes ${adapters.length} ${things}, one for each IP-Adapter`);
}

function countPictures(images: ImagePrompt): number {
  return images instanceof tf.Tensor ? images.shape[0] : [images].flat().length;
}

/**
 * What the UNet attends to besides the text: for each image, or with guidance what to avoid for each first. In a tidy.
 * Equals prepare_ip_adapter_image_embeds of diffusers' pipelines, and the projections that their UNet makes at each step.
 * @param latentShape of what is made. @param scaleFactor the VAE's.
 */
export function encodeImagePrompts(
  pipe: ImageReader, { prompts, masks }: ImagePromptRequest, guided: boolean, latentShape: readonly number[], scaleFactor: number,
): ImagePrompts {
  const [images, rows, columns] = latentShape;
  const { projections } = pipe.unet.ipAdapters!;
  const embeds = prompts.map((prompt, i) =>
    'embeds' in prompt ? prompt.embeds : encodePictures(pipe, prompt.images, projections[i], guided));
  const maskTensors = masks?.map(mask => mask && tf.squeeze(toMask(mask, rows * scaleFactor, columns * scaleFactor), [3]));
  const { states, ...others } = pipe.unet.projectImages(embeds, maskTensors, [rows, columns]);
  return { states: states.map(state => repeatEach(state, images)), ...others };
}

/** What the image encoder says of pictures, `[1, pictures, ...]`, or with guidance of nothing first, `[2, ...]`. */
function encodePictures(
  { imageEncoder, featureExtractor }: ImageReader, images: ImagePrompt, projection: ImageTokens, guided: boolean,
): tf.Tensor {
  const pixels = images instanceof tf.Tensor ? images : featureExtractor!.preprocess(images as Image | Image[]);
  const read = (pixels: tf.Tensor) => {
    const { imageEmbeds, hiddenStates } = imageEncoder!.forward(pixels);
    return tf.expandDims(projection.readsStates ? hiddenStates.at(-2)! : imageEmbeds, 0);
  };
  const said = read(pixels);
  if (!guided) return said;
  const [, ...size] = pixels.shape;
  const ofNothing = projection.readsStates
    ? tf.tile(read(tf.zeros([1, ...size])), [1, pixels.shape[0], ...said.shape.slice(2).map(() => 1)]) : tf.zerosLike(said);
  return tf.concat([ofNothing, said]);
}
