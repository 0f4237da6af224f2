import { blur } from '../../image/blur.js';
import { cropToFill } from '../../image/fit.js';
import { Image } from '../../image/image.js';
import { toGrey } from '../../image/pixels.js';
import { RequestError } from '../../jobs/errors.js';
import { checkSize, pictureBytes, type ServerLimits } from '../../jobs/picture_request.js';
import { decodePicture } from '../../jobs/decode_picture.js';
import { toNumber, type Fields } from '../fields.js';
import { fillFromAround } from './fill.js';

/** Padding that takes all of any picture. */
const EVERYTHING = 16384;
/** What the web UI calls what is under the mask to begin with. */
const [FILL, ORIGINAL] = [0, 1];

interface Size { readonly width: number; readonly height: number }

/**
 * What image to image begins from, as fields of ours: the picture in the size that is asked for, its own if none is; with a mask, only that
 * part of it, or all, and around the mask the picture stays as it is.
 * @param gone ends it between two pictures.
 * @throws RequestError
 */
export async function readStart(fields: Fields, limits: ServerLimits, gone: AbortSignal): Promise<Record<string, unknown>> {
  const { init_images: images, mask: given, denoising_strength: strength = 0.75 } = fields;
  if (!Array.isArray(images) || images.length === 0) throw new RequestError('init_images: got none, takes a picture');
  if (images.length > 1) throw new RequestError(`init_images: got ${images.length}, takes one`);
  const image = await readStartPicture('init_images', images[0], limits);
  gone.throwIfAborted();
  const size = sizeOf(fields, image, limits);
  const resize = resizer(fields, size);
  if (given === undefined || given === null) return { image: await toBase64(resize(image)), strength: toNumber(strength), ...size };
  const mask = toMask(await readStartPicture('mask', given, limits), fields);
  gone.throwIfAborted();
  const isWhole = fields.inpaint_full_res === false || fields.inpaint_full_res === 0;
  const [start, startMask] = isWhole ? [resize(image), resize(mask)] : [image, mask];
  const filled = isFilled(fields) && toNumber(strength) !== 1 ? fillFromAround(start, startMask) : start; // at 1, nothing is left of it
  return {
    image: await toBase64(filled), mask: await toBase64(startMask), strength: toNumber(strength), ...size,
    paddingMaskCrop: isWhole ? EVERYTHING : toNumber(fields.inpaint_full_res_padding ?? 0),
  };
}

async function readStartPicture(field: string, base64: unknown, { maxPixels }: ServerLimits): Promise<Image> {
  if (typeof base64 !== 'string') throw new RequestError(`${field}: takes a file's bytes in base64`);
  return decodePicture(field, pictureBytes(base64), { maxPixels, resized: true });
}

async function toBase64(image: Image): Promise<string> {
  return Buffer.from(await image.toPng({})).toString('base64');
}

/** @throws RequestError before a picture of another size is made, which would not be drawn. */
function sizeOf(fields: Fields, image: Size, limits: ServerLimits): Size {
  const [width, height] = (['width', 'height'] as const).map(side => {
    const value = toNumber(fields[side]) ?? Math.max(8, Math.floor(image[side] / 8) * 8);
    if (Number.isInteger(value) && value as number >= 8) return value as number;
    throw new RequestError(`${side}: takes a multiple of 8`);
  });
  checkSize({ width, height }, limits);
  return { width, height };
}

function resizer({ resize_mode: mode }: Fields, { width, height }: Size): (image: Image) => Image {
  switch (toNumber(mode) ?? 0) {
    case 0: return image => image.resize(width, height);
    case 1: return image => cropToFill(image, width, height);
    default: throw new RequestError('resize_mode: takes 0 (just resize) or 1 (crop and resize)');
  }
}

function isFilled({ inpainting_fill }: Fields): boolean {
  const fill = toNumber(inpainting_fill ?? FILL);
  if (fill !== FILL && fill !== ORIGINAL) throw new RequestError('inpainting_fill: takes 0 (fill) or 1 (original)');
  return fill === FILL;
}

/** White where the picture is to change: what is opaque of a mask with transparency, else what is white; inverted and blurred as asked. */
function toMask({ data, alpha, width, height }: Image, fields: Fields): Image {
  const isCut = alpha?.some(opacity => opacity < 255);
  const grey = isCut ? alpha!.map(opacity => opacity > 127 ? 255 : 0) : toGrey(data);
  const inverts = fields.inpainting_mask_invert === true || toNumber(fields.inpainting_mask_invert) === 1;
  const values = Float32Array.from(grey, value => inverts ? 255 - value : value);
  const radii = (['mask_blur_x', 'mask_blur_y'] as const).map(name => blurOf(name, fields[name] ?? fields.mask_blur ?? 4));
  const blurred = blur({ values, width, height }, radii as [number, number]);
  return new Image(Uint8Array.from({ length: 3 * blurred.length }, (_, i) => Math.round(blurred[Math.floor(i / 3)])), width, height);
}

function blurOf(name: string, given: unknown): number {
  const value = toNumber(given);
  if (typeof value === 'number' && value >= 0 && value <= 64) return value;
  throw new RequestError(`${name}: takes pixels from 0 to 64`);
}
