import { show } from '../core/checks.js';
import { checkPixels, ImageError } from './image_error.js';
import type { ImageFormat } from './image_format.js';
import { splitAlpha, type Pixels } from './pixels.js';

/**
 * What a page has instead of decode_photo.ts: the browser's own decoders, which turn pictures upright; few have one of TIFF.
 * @throws ImageError for a file that it cannot read.
 */
export async function decodePhoto(bytes: Uint8Array, format: Exclude<ImageFormat, 'PNG'>, maxPixels: number): Promise<Pixels> {
  let bitmap: ImageBitmap;
  try {
    const file = new Blob([bytes as BlobPart], { type: `image/${format.toLowerCase()}` });
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none', imageOrientation: 'from-image' });
  } catch (error) {
    throw new ImageError(`cannot be read by this browser: ${show((error as Error).message)}`, { cause: error });
  }
  const { width, height } = bitmap;
  try {
    checkPixels(width, height, maxPixels);
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
    context.drawImage(bitmap, 0, 0);
    const { data, alpha } = splitAlpha(context.getImageData(0, 0, width, height).data);
    const indexed = format === 'GIF';
    return { data, width, height, ...(!indexed && alpha.some(value => value < 255) && { alpha }), ...(indexed && { indexed }) };
  } finally {
    bitmap.close();
  }
}
