import { checkPixels, ImageError } from './image_error.js';
import type { Pixels } from './pixels.js';

const FILE_HEADER = 14;
const [UNPACKED, BIT_FIELDS] = [0, 3];
const NARROW = [0x7c00, 0x3e0, 0x1f]; // red, green and blue of 16 bits, where the file does not say
const WIDE = [0xff0000, 0xff00, 0xff];

/**
 * The pixels of a BMP file of 1, 4, 8, 16, 24 or 32 bits, not packed: npm's readers of these misread rows that are filled up, or know no
 * palette.
 * @throws ImageError for another, or one that is cut off.
 */
export function decodeBmp(bytes: Uint8Array, maxPixels: number): Pixels {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < FILE_HEADER + 12) throw new ImageError('is cut off');
  const [start, headerSize] = [view.getUint32(10, true), view.getUint32(FILE_HEADER, true)];
  const old = headerSize === 12; // of OS/2
  if ((!old && headerSize < 40) || FILE_HEADER + headerSize > bytes.length) {
    throw new ImageError(`has a header of ${headerSize} bytes, which is unknown`);
  }
  const [width, signedHeight] = old
    ? [view.getUint16(18, true), view.getUint16(20, true)]
    : [view.getInt32(18, true), view.getInt32(22, true)];
  const depth = view.getUint16(old ? 24 : 28, true);
  const packing = old ? UNPACKED : view.getUint32(30, true);
  const height = Math.abs(signedHeight);
  checkPixels(width, height, maxPixels);
  if (packing !== UNPACKED && !(packing === BIT_FIELDS && depth >= 16)) {
    throw new ImageError(`is packed in way ${packing}, which is not read`);
  }
  const stride = Math.ceil(width * depth / 32) * 4;
  if (start + stride * height > bytes.length) {
    throw new ImageError(`is cut off: its pixels take ${stride * height} bytes, there are ${Math.max(0, bytes.length - start)}`);
  }

  const data = new Uint8Array(width * height * 3);
  const readRows = (readPixel: (row: number, x: number, to: number) => void) => {
    for (let y = 0; y < height; y++) {
      const row = start + (signedHeight < 0 ? y : height - 1 - y) * stride;
      for (let x = 0; x < width; x++) readPixel(row, x, (y * width + x) * 3);
    }
  };
  if (depth === 1 || depth === 4 || depth === 8) {
    const count = Math.min(old ? 0 : view.getUint32(46, true), 2 ** depth) || 2 ** depth;
    const palette = readPalette(bytes, { at: FILE_HEADER + headerSize, step: old ? 3 : 4, count });
    readRows((row, x, to) => {
      const index = bytes[row + (x * depth >> 3)] >> (8 - depth - x * depth % 8) & (2 ** depth - 1);
      data.set(palette.subarray(index * 3, index * 3 + 3), to);
    });
    return { data, width, height, indexed: depth === 1 || !isRamp(palette) };
  }
  if (depth === 24) readRows((row, x, to) => data.set([bytes[row + 3 * x + 2], bytes[row + 3 * x + 1], bytes[row + 3 * x]], to));
  else if (depth === 16 || depth === 32) {
    const at = FILE_HEADER + 40; // in larger headers as behind one of 40
    if (packing === BIT_FIELDS && at + 12 > bytes.length) throw new ImageError('is cut off');
    const masks = packing === BIT_FIELDS ? [0, 4, 8].map(offset => view.getUint32(at + offset, true)) : depth === 16 ? NARROW : WIDE;
    const scales = masks.map(bitField);
    readRows((row, x, to) => {
      const value = depth === 16 ? view.getUint16(row + 2 * x, true) : view.getUint32(row + 4 * x, true);
      scales.forEach(({ shift, max }, i) => { data[to + i] = max && Math.trunc((value >>> shift & max) * 255 / max); });
    });
  } else {
    throw new ImageError(`has ${depth} bits a pixel, takes 1, 4, 8, 16, 24 or 32`);
  }
  return { data, width, height };
}

/** Red, green and blue of each colour; black for those that the file lacks. */
function readPalette(bytes: Uint8Array, { at, step, count }: { at: number; step: number; count: number }): Uint8Array {
  return Uint8Array.from({ length: count * 3 }, (_, i) => bytes[at + Math.floor(i / 3) * step + 2 - i % 3] ?? 0);
}

/** Whether colours are the greys from black to white, in order. */
function isRamp(palette: Uint8Array): boolean {
  return palette.every((value, i) => value === Math.floor(i / 3));
}

/** Where the bits of a mask begin, and the largest number that they hold, up to 8 of them. */
function bitField(mask: number): { shift: number; max: number } {
  const width = 32 - Math.clz32(mask);
  const low = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
  const shift = Math.max(low, width - 8);
  return { shift, max: mask === 0 ? 0 : 2 ** (width - shift) - 1 };
}
