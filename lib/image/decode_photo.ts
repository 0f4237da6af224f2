import type * as Sharp from 'sharp';
import { show } from '../core/checks.js';
import { decodeBmp } from './bmp.js';
import { checkPixels, ImageError } from './image_error.js';
import type { ImageFormat } from './image_format.js';
import { findOrientation, orient, tiffTag } from './orientation.js';
import type { Pixels } from './pixels.js';

const PHOTOMETRIC = 262; // the tag of a TIFF file that says what its samples are
const PALETTE = 3;

/**
 * The pixels of a file other than PNG, upright, of its first picture, by sharp (libvips), which gives what Pillow does to the last byte: it
 * has the same decoders. Colours are those of the file, without its profile; CMYK becomes RGB as in Pillow; of 16 bits
 * the upper 8 are kept, but grey is cut off at 255, as there.
 * @throws ImageError for a spoilt file, or where sharp is not installed.
 */
export async function decodePhoto(bytes: Uint8Array, format: Exclude<ImageFormat, 'PNG'>, maxPixels: number): Promise<Pixels> {
  if (format === 'BMP') return decodeBmp(bytes, maxPixels);
  const sharp = await loadSharp();
  try {
    const header = await sharp(bytes, { limitInputPixels: false }).metadata();
    checkPixels(header.width, header.height, maxPixels);
    if (header.format !== format.toLowerCase()) throw new ImageError(`is ${show(header.format)} inside`);
    const samples = await readSamples(sharp(bytes, { limitInputPixels: maxPixels, ignoreIcc: true, failOn: 'error' }), header);
    const indexed = format === 'GIF' || (format === 'TIFF' && (header.bitsPerSample === 1 || tiffTag(bytes, PHOTOMETRIC) === PALETTE));
    const { data, alpha } = header.space === 'cmyk' ? fromCmyk(samples.data) : fromSamples(samples);
    const exif = format === 'TIFF' ? bytes : header.exif;
    const pixels = { data, width: header.width, height: header.height, ...(alpha && !indexed && { alpha }), ...(indexed && { indexed }) };
    return orient(pixels, findOrientation({ exif, xmp: header.xmp?.toString('latin1') }));
  } catch (error) {
    throw error instanceof ImageError ? error : new ImageError(`cannot be read: ${show((error as Error).message)}`, { cause: error });
  }
}

/** An optional dependency: where it has no build for a machine, PNG and BMP still work. */
async function loadSharp(): Promise<typeof Sharp.default> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    throw new ImageError('takes the package sharp to be read: npm install sharp, or make it a PNG', { cause: error });
  }
}

interface Samples {
  readonly data: ArrayLike<number>;
  /** Of a pixel: grey or red, green and blue, with or without opacity. */
  readonly channels: number;
}

/** The first picture as bytes, in the file's own colours. */
async function readSamples(picture: Sharp.Sharp, { space, depth }: Sharp.Metadata): Promise<Samples> {
  const wide = depth === 'ushort';
  const own = space === 'cmyk' ? picture.pipelineColourspace('cmyk').toColourspace('cmyk') : picture.toColourspace(wide ? space : 'srgb');
  const { data, info: { channels } } = await own.raw(wide ? { depth: 'ushort' } : {}).toBuffer({ resolveWithObject: true });
  const narrow = channels === 1 ? (value: number) => Math.min(value, 255) : (value: number) => value >> 8;
  return { data: wide ? new Uint16Array(data.buffer, data.byteOffset, data.length / 2).map(narrow) : data, channels };
}

function fromSamples({ data, channels }: Samples): { data: Uint8Array; alpha?: Uint8Array } {
  const pixels = data.length / channels;
  const rgb = new Uint8Array(pixels * 3);
  const alpha = channels % 2 === 0 ? new Uint8Array(pixels) : undefined;
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = data[i * channels + (channels < 3 ? 0 : c)];
    if (alpha) alpha[i] = data[(i + 1) * channels - 1];
  }
  return { data: rgb, alpha };
}

/** As Pillow's convert('RGB'): without a profile. */
function fromCmyk(data: ArrayLike<number>): { data: Uint8Array; alpha?: undefined } {
  return {
    data: Uint8Array.from({ length: data.length / 4 * 3 }, (_, i) => {
      const pixel = Math.floor(i / 3) * 4;
      const light = 255 - data[pixel + 3];
      const ink = data[pixel + i % 3] * light + 128;
      return Math.max(0, light - (((ink >> 8) + ink) >> 8));
    }),
  };
}
