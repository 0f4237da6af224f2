import { promisify } from 'node:util';
import { constants, deflate, inflateSync } from 'node:zlib';
import { PNG } from 'pngjs';
import { show } from '../core/checks.js';
import type { Pixels } from './pixels.js';
import { colourFile, concat, makeChunk, PngError, readHeader, SIGNATURE, toPixels, type Chunk, type Header } from './png_chunks.js';
import { filterRows } from './png_filter.js';

const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const GREY = 0;
const RGB = 2;

/** As pngjs packs, for the same bytes. */
const PACKING = { level: 9, strategy: constants.Z_RLE, chunkSize: 2 ** 20 };

/** The bytes of a PNG file. Rows are filtered a few at a time and packed in another thread, so that a server goes on answering. */
export async function encodePixels(pixels: Pixels): Promise<Uint8Array> {
  const packed = await promisify<Uint8Array, object, Uint8Array>(deflate)(await filterRows(pixels), PACKING);
  return concat([SIGNATURE, makeChunk('IHDR', rgbHeader(pixels)), makeChunk('IDAT', packed), makeChunk('IEND', new Uint8Array())]);
}

function rgbHeader({ width, height }: Pixels): Uint8Array {
  const header = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 8, RGB, 0, 0, 0);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  return header;
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
