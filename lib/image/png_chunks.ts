import crc32 from 'crc-32';
import { ImageError, MAX_PIXELS } from './image_error.js';
import { splitAlpha, type Pixels } from './pixels.js';

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** Bits a sample, by colour type. */
const DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };

/** A file that is no PNG, or a spoilt one. */
export class PngError extends ImageError {
  override name = 'PngError';

  constructor(problem: string, options?: ErrorOptions) {
    super(`PNG: ${problem}`, options);
  }
}

/** A part of a PNG file. */
export interface Chunk {
  readonly type: string;
  readonly data: Uint8Array;
  /** All of it: length, type, data and checksum. */
  readonly bytes: Uint8Array;
}

export interface Header {
  readonly width: number;
  readonly height: number;
  /** Bits a sample. */
  readonly depth: number;
  readonly colourType: number;
  readonly interlaced: boolean;
}

/**
 * The chunks of a PNG file (https://www.w3.org/TR/png-3), up to its end's.
 * @throws PngError unless each is whole and a header the first, and the only one.
 */
export function readChunks(bytes: Uint8Array): Chunk[] {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) throw new PngError('is no PNG file');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const chunks: Chunk[] = [];
  for (let at = SIGNATURE.length; chunks.at(-1)?.type !== 'IEND';) {
    const end = at + 8 < bytes.length ? at + 8 + view.getUint32(at) : Infinity;
    if (end + 4 > bytes.length) throw new PngError('is cut off');
    if (view.getInt32(end) !== crc32.buf(bytes.subarray(at + 4, end))) {
      throw new PngError(`is damaged: the checksum at byte ${end} is another`);
    }
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if ((type === 'IHDR') !== (chunks.length === 0)) {
      throw new PngError(chunks.length === 0 ? 'does not begin with a header' : 'has two headers');
    }
    chunks.push({ type, data: bytes.subarray(at + 8, end), bytes: bytes.subarray(at, end + 4) });
    at = end + 4;
  }
  return chunks;
}

/** @throws PngError for a picture of no kind that exists, or of too many pixels. */
export function readHeader([{ data }]: readonly Chunk[], maxPixels = MAX_PIXELS): Header {
  if (data.length !== 13) throw new PngError('does not begin with a header');
  const view = new DataView(data.buffer, data.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colourType, compression, filter, interlace] = data.subarray(8);
  if (width === 0 || height === 0 || width * height > maxPixels) {
    throw new PngError(`has ${width} x ${height} pixels, takes from 1 to ${maxPixels}`);
  }
  if (!DEPTHS[colourType]?.includes(depth)) throw new PngError(`has colour type ${colourType} with ${depth} bits, which does not exist`);
  if (compression !== 0 || filter !== 0 || interlace > 1) throw new PngError('is compressed in an unknown way');
  return { width, height, depth, colourType, interlaced: interlace === 1 };
}

/** A file of what makes the colours of the pixels alone: no transparency, gamma, or texts. */
export function colourFile(chunks: readonly Chunk[]): Uint8Array {
  return concat([SIGNATURE, ...chunks.filter(({ type }) => /^(IHDR|PLTE|IDAT|IEND)$/.test(type)).map(({ bytes }) => bytes)]);
}

export function makeChunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = concat([new Uint8Array(4), Uint8Array.from(type, letter => letter.charCodeAt(0)), data, new Uint8Array(4)]);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  view.setInt32(bytes.length - 4, crc32.buf(bytes.subarray(4, -4)));
  return bytes;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The picture that a file with this header has, of its pixels as RGBA. */
export function toPixels(rgba: ArrayLike<number>, { width, height, depth, colourType }: Header): Pixels {
  const { data, alpha } = splitAlpha(rgba);
  return { data, width, height, ...(colourType >= 4 && { alpha }), ...((colourType === 3 || depth === 1) && { indexed: true }) };
}
