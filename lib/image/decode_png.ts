import { show } from '../core/checks.js';
import { crc32, SIGNATURE, paeth } from './png.js';

/** What a PNG file holds, as far as we take it. */
export interface DecodedPng {
  /** RGB bytes. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Texts by keyword. */
  readonly text: Record<string, string>;
}

/** A file that is no PNG, or a spoilt one. */
export class PngError extends Error {
  override name = 'PngError';
}

const MAX_PIXELS = 1e8;
const MAX_TEXT_BYTES = 1e6;

/** Samples a pixel, by colour type. */
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const PALETTE = 3;

interface Header {
  width: number;
  height: number;
  /** Bits a sample. */
  depth: number;
  colourType: number;
  interlaced: boolean;
}

/** Every `dx`th pixel of every `dy`th row, from [x, y] on. */
interface Pass {
  x: number;
  y: number;
  dx: number;
  dy: number;
}

const WHOLE: Pass[] = [{ x: 0, y: 0, dx: 1, dy: 1 }];
const ADAM7: Pass[] = [
  { x: 0, y: 0, dx: 8, dy: 8 }, { x: 4, y: 0, dx: 8, dy: 8 }, { x: 0, y: 4, dx: 4, dy: 8 }, { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 }, { x: 1, y: 0, dx: 2, dy: 2 }, { x: 0, y: 1, dx: 1, dy: 2 },
];

/**
 * The bytes of a PNG file (https://www.w3.org/TR/png-3) -> RGB bytes and texts, in Node and in a page. Of 16 bits the upper 8 are kept;
 * transparency is left out, as Pillow's convert('RGB') does. Takes up to 100 million pixels, and unpacks no more than the header announces.
 * @throws PngError saying what is wrong.
 */
export async function decodePng(bytes: Uint8Array): Promise<DecodedPng> {
  const [first, ...chunks] = readChunks(bytes);
  const header = readHeader(first);
  const palette = chunks.find(({ type }) => type === 'PLTE')?.data ?? new Uint8Array();
  if (header.colourType === PALETTE && (palette.length === 0 || palette.length > 768 || palette.length % 3)) fail('its palette is missing or broken');
  const packed = chunks.filter(({ type }) => type === 'IDAT').map(({ data }) => data);
  const passes = header.interlaced ? ADAM7 : WHOLE;
  const size = passes.reduce((sum, pass) => sum + passSize(header, pass).bytes, 0);
  const rows = await inflate(packed, size);
  if (rows.length < size) fail(`is cut off: its pixels take ${size} bytes, there are ${rows.length}`);
  const data = new Uint8Array(header.width * header.height * 3);
  let at = 0;
  for (const pass of passes) {
    const { bytes: length } = passSize(header, pass);
    placePixels(rows.subarray(at, at + length), header, pass, palette, data);
    at += length;
  }
  return { data, width: header.width, height: header.height, text: await readTexts(chunks) };
}

function fail(problem: string): never {
  throw new PngError(`PNG: ${problem}`);
}

interface Chunk {
  readonly type: string;
  readonly data: Uint8Array;
}

function readChunks(bytes: Uint8Array): Chunk[] {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) fail('is no PNG file');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const chunks: Chunk[] = [];
  for (let at = SIGNATURE.length; chunks.at(-1)?.type !== 'IEND';) {
    const end = at + 8 < bytes.length ? at + 8 + view.getUint32(at) : Infinity;
    if (end + 4 > bytes.length) fail('is cut off');
    if (view.getUint32(end) !== crc32(bytes.subarray(at + 4, end))) fail(`is damaged: the checksum at byte ${end} is another`);
    chunks.push({ type: latin1(bytes.subarray(at + 4, at + 8)), data: bytes.subarray(at + 8, end) });
    at = end + 4;
  }
  return chunks;
}

function readHeader({ type, data }: Chunk): Header {
  if (type !== 'IHDR' || data.length !== 13) fail('does not begin with a header');
  const view = new DataView(data.buffer, data.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colourType, compression, filter, interlace] = data.subarray(8);
  if (width === 0 || height === 0 || width * height > MAX_PIXELS) fail(`has ${width} x ${height} pixels, takes from 1 to ${MAX_PIXELS}`);
  if (!DEPTHS[colourType]?.includes(depth)) fail(`has colour type ${colourType} with ${depth} bits, which does not exist`);
  if (compression !== 0 || filter !== 0 || interlace > 1) fail('is compressed in an unknown way');
  return { width, height, depth, colourType, interlaced: interlace === 1 };
}

/** How many pixels a pass has, and how many bytes: each row has one before it for its filter. An empty pass has none. */
function passSize({ width, height, depth, colourType }: Header, { x, y, dx, dy }: Pass): { columns: number; rows: number; rowBytes: number; bytes: number } {
  const columns = Math.ceil(Math.max(0, width - x) / dx);
  const rows = columns === 0 ? 0 : Math.ceil(Math.max(0, height - y) / dy);
  const rowBytes = Math.ceil(columns * SAMPLES[colourType] * depth / 8);
  return { columns, rows, rowBytes, bytes: rows * (rowBytes + 1) };
}

/** Undoes the filters of a pass and puts its pixels where they belong. */
function placePixels(filtered: Uint8Array, header: Header, pass: Pass, palette: Uint8Array, out: Uint8Array): void {
  const { width, depth, colourType } = header;
  const { columns, rows, rowBytes } = passSize(header, pass);
  const samples = SAMPLES[colourType];
  const distance = Math.max(1, samples * depth / 8); // to the byte of the pixel before
  const isGrey = samples < 3 && colourType !== PALETTE;
  let above: Uint8Array = new Uint8Array(rowBytes);
  for (let row = 0; row < rows; row++) {
    const at = row * (rowBytes + 1);
    const line = filtered.subarray(at + 1, at + 1 + rowBytes);
    unfilter(filtered[at], line, above, distance);
    above = line;
    for (let column = 0; column < columns; column++) {
      const to = ((pass.y + row * pass.dy) * width + pass.x + column * pass.dx) * 3;
      for (let channel = 0; channel < 3; channel++) {
        const value = sampleOf(line, column * samples + (samples < 3 ? 0 : channel), depth);
        if (colourType !== PALETTE) out[to + channel] = isGrey && depth < 8 ? value * 255 / (2 ** depth - 1) : value;
        else if (value * 3 < palette.length) out[to + channel] = palette[value * 3 + channel];
        else fail(`has a pixel of colour ${value}, its palette ${palette.length / 3} colours`);
      }
    }
  }
}

/** The upper 8 bits of a sample, or all of fewer. */
function sampleOf(line: Uint8Array, index: number, depth: number): number {
  if (depth >= 8) return line[index * depth / 8];
  const bit = index * depth;
  return (line[bit >> 3] >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
}

/** Turns the differences of a row into its bytes, in place. */
function unfilter(type: number, line: Uint8Array, above: Uint8Array, distance: number): void {
  if (type > 4) fail(`has a row of filter ${type}, which does not exist`);
  if (type === 0) return;
  for (let i = 0; i < line.length; i++) {
    const left = i >= distance ? line[i - distance] : 0;
    const corner = i >= distance ? above[i - distance] : 0;
    line[i] += type === 1 ? left : type === 2 ? above[i] : type === 3 ? (left + above[i]) >> 1 : paeth(left, above[i], corner);
  }
}

/** tEXt, zTXt and iTXt. Text that cannot be read is left out: the picture does not depend on it. */
async function readTexts(chunks: readonly Chunk[]): Promise<Record<string, string>> {
  const texts: Array<[string, string]> = [];
  for (const { type, data } of chunks) {
    const end = data.indexOf(0);
    if (end < 1) continue;
    const [keyword, rest] = [latin1(data.subarray(0, end)), data.subarray(end + 1)];
    try {
      if (type === 'tEXt') texts.push([keyword, latin1(rest)]);
      if (type === 'zTXt') texts.push([keyword, latin1(await inflate([rest.subarray(1)], MAX_TEXT_BYTES))]);
      if (type === 'iTXt') { // compressed or not, the method, then language and translated keyword, each ended by 0
        const text = rest.subarray(rest.indexOf(0, rest.indexOf(0, 2) + 1) + 1);
        texts.push([keyword, new TextDecoder('utf-8', { fatal: true }).decode(rest[0] === 1 ? await inflate([text], MAX_TEXT_BYTES) : text)]);
      }
    } catch {
      continue;
    }
  }
  return Object.fromEntries(texts);
}

/** Unpacks, up to `maxLength` bytes and never more. */
async function inflate(packed: Uint8Array[], maxLength: number): Promise<Uint8Array> {
  const reader = new Blob(packed as BlobPart[]).stream().pipeThrough(new DecompressionStream('deflate')).getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((error: Error) => {
      if (length === maxLength) return { done: true, value: undefined } as const; // what follows is no picture
      return fail(`cannot be unpacked: ${show(error.message)}`);
    });
    if (done) break;
    length += value.length;
    if (length > maxLength) {
      await reader.cancel().catch(() => undefined);
      fail(`unpacks to more than ${maxLength} bytes`);
    }
    parts.push(value);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
