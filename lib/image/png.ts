import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { inflateSync } from 'node:zlib';
import { PNG } from 'pngjs';
import { show } from '../core/checks.js';
import type { Pixels } from './pixels.js';
import { colourFile, concat, PngError, readHeader, toPixels, type Chunk, type Header } from './png_chunks.js';

const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const GREY = 0;
const RGB = 2;

/** The bytes of a PNG file. Another thread packs them; this one filters rows before, which takes a tenth of a second for large pictures. */
export async function encodePixels({ data, width, height }: Pixels): Promise<Uint8Array> {
  const png = new PNG({ width, height, colorType: RGB, inputColorType: RGB, inputHasAlpha: false });
  png.data = Buffer.from(data.buffer, data.byteOffset, data.length);
  const packed = new PassThrough();
  png.once('error', error => packed.destroy(error)).pack().pipe(packed);
  return Uint8Array.from(await buffer(packed));
}

/**
 * The pixels of a PNG file. Of 16 bits the upper 8 are kept, but grey is cut off at 255, as in Pillow; colours are what they are where they
 * are transparent.
 * @throws PngError saying what is wrong.
 */
export async function decodePixels(chunks: readonly Chunk[], maxPixels?: number): Promise<Pixels> {
  const header = readHeader(chunks, maxPixels);
  const { depth, colourType } = header;
  checkPacked(chunks, header);
  try {
    const { data } = PNG.sync.read(Buffer.from(colourFile(chunks)), { skipRescale: depth === 16 });
    return toPixels(depth === 16 ? data.map(colourType === GREY ? value => Math.min(value, 255) : value => value >> 8) : data, header);
  } catch (error) {
    throw new PngError(`cannot be read: ${show((error as Error).message)}`, { cause: error });
  }
}

/** pngjs unpacks interlaced files without a bound, and of others takes what memory held for the pixels that are missing. */
function checkPacked(chunks: readonly Chunk[], { width, height, depth, colourType, interlaced }: Header): void {
  const overhead = interlaced ? 8 : 1; // a row has a filter; it may be in four passes, of which each has one, and is rounded up to bytes
  const maxOutputLength = (Math.ceil(width * SAMPLES[colourType] * depth / 8) + overhead) * height;
  let length: number;
  try {
    length = inflateSync(concat(chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data)), { maxOutputLength }).length;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const problem = code === 'ERR_BUFFER_TOO_LARGE'
      ? `unpacks to more than ${maxOutputLength} bytes`
      : `cannot be unpacked: ${show(message)}`;
    throw new PngError(problem, { cause: error });
  }
  if (!interlaced && length < maxOutputLength) {
    throw new PngError(`is cut off: its pixels take ${maxOutputLength} bytes, there are ${length}`);
  }
}
