import { show } from '../core/checks.js';
import type { Pixels } from './pixels.js';
import { colourFile, PngError, readHeader, toPixels, type Chunk } from './png_chunks.js';

/** What a page has instead of png.ts: bundlers take this file by the `browser` field of package.json. */
export async function encodePixels({ data, width, height }: Pixels): Promise<Uint8Array> {
  const image = new ImageData(width, height);
  image.data.fill(255);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) image.data.set(data.subarray(from, from + 3), to);
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d')!.putImageData(image, 0, 0);
  const blob = await canvas.convertToBlob({ type: 'image/png' });
  return new Uint8Array(await blob.arrayBuffer());
}

/**
 * The pixels of a PNG file, its colours as they are in it. Canvases weigh colours by their opacity:
 * where an RGBA file is transparent, pixels are black, and where it is half so, they are rounded.
 * @throws PngError saying what is wrong.
 */
export async function decodePixels(chunks: readonly Chunk[], maxPixels?: number): Promise<Pixels> {
  const header = readHeader(chunks, maxPixels);
  const { width, height } = header;
  try {
    const file = new Blob([colourFile(chunks) as BlobPart], { type: 'image/png' });
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!;
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return toPixels(context.getImageData(0, 0, width, height).data, header);
  } catch (error) {
    throw new PngError(`cannot be read: ${show((error as Error).message)}`, { cause: error });
  }
}
