import { Image } from './image.js';

/** A black picture. */
export function blank(width: number, height: number): Image {
  return new Image(new Uint8Array(width * height * 3), width, height);
}

/** Writes a picture onto another, as far as it lies there: its upper left corner at (left, top). Returns what was written on. */
export function paste({ data, width, height }: Image, onto: Image, left: number, top: number): Image {
  const [from, to] = [Math.max(0, -left), Math.min(width, onto.width - left)];
  for (let y = Math.max(0, -top); y < Math.min(height, onto.height - top) && from < to; y++) {
    onto.data.set(data.subarray((y * width + from) * 3, (y * width + to) * 3), ((top + y) * onto.width + left + from) * 3);
  }
  return onto;
}
