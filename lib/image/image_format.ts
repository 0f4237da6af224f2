/* eslint-disable no-control-regex -- of bytes, not of texts */
import { show } from '../core/checks.js';
import { ImageError } from './image_error.js';

/** Kinds of files that pictures are read from. */
export type ImageFormat = 'PNG' | 'JPEG' | 'WebP' | 'GIF' | 'BMP' | 'TIFF';

/** How files begin, byte for byte as Latin-1. */
const READ: Record<ImageFormat, RegExp> = {
  PNG: /^\x89PNG\r\n\x1a\n/, JPEG: /^\xff\xd8\xff/, WebP: /^RIFF[^]{4}WEBP/, GIF: /^GIF8[79]a/, BMP: /^BM/,
  TIFF: /^(II[*+]\0|MM\0[*+])/,
};

/** What else a file may be that someone takes for a picture. */
const NAMED: Record<string, RegExp> = {
  'a HEIC file': /^[^]{4}ftyp(hei|hevc|mif1|msf1)/, 'an AVIF file': /^[^]{4}ftypavi/,
  'a film': /^([^]{4}ftyp|\x1aE\xdf\xa3|RIFF[^]{4}AVI )/,
  'a JPEG XL file': /^(\xff\x0a|[^]{4}JXL )/, 'a JPEG 2000 file': /^([^]{4}jP {2}|\xff\x4f\xff\x51)/,
  'a Photoshop file': /^8BPS/, 'a PDF file': /^%PDF/, 'an icon file': /^\0\0[\x01\x02]\0/,
  'an SVG file': /^[^<]{0,3}(<\?xml[^]*)?<svg/i, 'a web page': /^\s*<(!doctype html|html|head|body)/i, 'a zip file': /^PK\x03\x04/,
};

/** What kind of picture a file is, by its first bytes. @throws ImageError that says what it is instead. */
export function imageFormat(bytes: Uint8Array): ImageFormat {
  const start = Array.from(bytes.subarray(0, 256), byte => String.fromCharCode(byte)).join('');
  const format = (Object.keys(READ) as ImageFormat[]).find(each => READ[each].test(start));
  if (format) return format;
  const known = Object.keys(NAMED).find(each => NAMED[each].test(start));
  const what = bytes.length === 0 ? 'is empty' : known ? `is ${known}` : `begins with ${show(start.slice(0, 12))}, as no picture does`;
  throw new ImageError(`${what}; takes ${Object.keys(READ).join(', ')}`);
}
