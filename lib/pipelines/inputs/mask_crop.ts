import type { Image } from '../../image/image.js';
import { toGrey, type Box } from '../../image/pixels.js';

/**
 * The part of a picture that its mask changes, and `padding` pixels around it, made larger to the proportions of `width` x `height` as far
 * as the picture goes. Equals VaeImageProcessor.get_crop_region.
 * @throws RangeError for a mask that is black all over.
 */
export function cropRegion(mask: Image, width: number, height: number, padding: number): Box {
  const seen = { left: mask.width, right: 0, top: mask.height, bottom: 0 };
  toGrey(mask.data).forEach((value, i) => {
    if (value === 0) return;
    const [x, y] = [i % mask.width, Math.floor(i / mask.width)];
    seen.left = Math.min(seen.left, x);
    seen.right = Math.max(seen.right, x + 1);
    seen.top = Math.min(seen.top, y);
    seen.bottom = Math.max(seen.bottom, y + 1);
  });
  if (seen.right === 0) {
    throw new RangeError('maskImage: is black all over, takes one with a part to change where paddingMaskCrop is given');
  }
  let [left, right] = [Math.max(seen.left - padding, 0), Math.min(seen.right + padding, mask.width)];
  let [top, bottom] = [Math.max(seen.top - padding, 0), Math.min(seen.bottom + padding, mask.height)];
  const ratio = width / height;
  if ((right - left) / (bottom - top) > ratio) [top, bottom] = widen(top, bottom, (right - left) / ratio, mask.height);
  else [left, right] = widen(left, right, (bottom - top) * ratio, mask.width);
  return { left, top, width: right - left, height: bottom - top };
}

/** A range made as long as is wanted, to both sides, and moved to lie within `length`. */
function widen(first: number, end: number, wanted: number, length: number): [number, number] {
  const more = Math.trunc(wanted - (end - first));
  let from = first - Math.floor(more / 2);
  let to = end + more - Math.floor(more / 2);
  if (to >= length) [from, to] = [from - (to - length), length];
  if (from < 0) [from, to] = [0, Math.min(to - from, length)];
  return [from, to];
}
