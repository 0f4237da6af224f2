import type { Pixels } from './pixels.js';

const ORIENTATION = 0x0112;
const SIZES: Record<number, number> = { 1: 1, 3: 2, 4: 4 }; // bytes of the types of tags that are whole numbers

/** How a camera was held, in EXIF's numbers from 1 (upright) to 8, by what a picture's metadata say. As Pillow's getexif looks for it. */
export function findOrientation({ exif, xmp = '' }: { exif?: Uint8Array; xmp?: string }): number {
  return (exif && tiffTag(withoutPrefix(exif), ORIENTATION)) ?? Number(/tiff:Orientation(?:="|>)([0-9])/.exec(xmp)?.[1] ?? 1);
}

/** A whole number that a TIFF file says of its first picture, or EXIF of its own, if it does and can be read. */
export function tiffTag(bytes: Uint8Array, tag: number): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const little = bytes[0] === 0x49;
  if (bytes.length < 8 || view.getUint16(2, little) !== 42) return undefined;
  const start = view.getUint32(4, little);
  const count = start + 2 <= bytes.length ? view.getUint16(start, little) : 0;
  for (let at = start + 2; at < start + 2 + 12 * count && at + 12 <= bytes.length; at += 12) {
    if (view.getUint16(at, little) !== tag) continue;
    const size = view.getUint32(at + 4, little) === 1 ? SIZES[view.getUint16(at + 2, little)] : undefined;
    switch (size) {
      case 1: return bytes[at + 8];
      case 2: return view.getUint16(at + 8, little);
      case 4: return view.getUint32(at + 8, little);
      default: return undefined;
    }
  }
  return undefined;
}

/** The picture upright. Equals Pillow's ImageOps.exif_transpose. */
export function orient(pixels: Pixels, orientation: number): Pixels {
  if (!(orientation >= 2 && orientation <= 8)) return pixels;
  const { data, alpha, width, height, indexed } = pixels;
  const turns = orientation >= 5; // columns become rows
  const [mirrorsX, mirrorsY] = [[2, 3, 7, 8], [3, 4, 6, 7]].map(list => list.includes(orientation));
  const [newWidth, newHeight] = turns ? [height, width] : [width, height];
  const move = (from: Uint8Array, samples: number) => {
    const to = new Uint8Array(from.length);
    for (let y = 0, at = 0; y < newHeight; y++) {
      for (let x = 0; x < newWidth; x++, at += samples) {
        const [column, row] = turns ? [y, x] : [x, y];
        const pixel = ((mirrorsY ? height - 1 - row : row) * width + (mirrorsX ? width - 1 - column : column)) * samples;
        for (let i = 0; i < samples; i++) to[at + i] = from[pixel + i];
      }
    }
    return to;
  };
  return { data: move(data, 3), alpha: alpha && move(alpha, 1), width: newWidth, height: newHeight, indexed };
}

/** JPEG has it before EXIF's own bytes, and some write it twice. */
function withoutPrefix(exif: Uint8Array): Uint8Array {
  let rest = exif;
  for (let i = 0; i < 2 && String.fromCharCode(...rest.subarray(0, 6)) === 'Exif\0\0'; i++) rest = rest.subarray(6);
  return rest;
}
