import { Image } from '../../image/image.js';
import { blank, paste } from '../../image/paste.js';
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

/** The box of a picture, scaled to fit into `width` x `height`, in its middle; its edges fill what is left. Equals resize_mode 'fill'. */
export function cropAndFill(image: Image, box: Box, width: number, height: number): Image {
  const part = image.crop(box);
  const wide = width / height < part.width / part.height; // bars above and below
  const [fitWidth, fitHeight] = wide
    ? [width, Math.floor(part.height * width / part.width)]
    : [Math.floor(part.width * height / part.height), height];
  const [left, top] = [Math.floor(width / 2) - Math.floor(fitWidth / 2), Math.floor(height / 2) - Math.floor(fitHeight / 2)];
  const fitted = part.resize(fitWidth, fitHeight);
  const out = paste(fitted, blank(width, height), left, top);
  const [right, bottom] = [left + fitWidth, top + fitHeight];
  for (let y = 0; y < top; y++) {
    paste(edge(fitted, 0, true), out, 0, y);
    paste(edge(fitted, fitHeight - 1, true), out, 0, bottom + y);
  }
  for (let x = 0; x < left; x++) {
    paste(edge(fitted, 0, false), out, x, 0);
    paste(edge(fitted, fitWidth - 1, false), out, right + x, 0);
  }
  return out;
}

/** The first or last row or column as Pillow's bicubic filter goes on from it: by an eighth of what changed from the one within. */
function edge(image: Image, at: number, isRow: boolean): Image {
  const { width, height } = image;
  const line = (i: number) => image.crop(isRow ? { left: 0, top: i, width, height: 1 } : { left: i, top: 0, width: 1, height });
  const outer = line(at);
  const last = (isRow ? height : width) - 1;
  const inner = line(at === 0 ? Math.min(1, last) : last - 1);
  const data = outer.data.map((value, i) => Math.max(0, Math.min(255, Math.floor((9 * value - inner.data[i]) / 8 + 0.5))));
  return new Image(data, outer.width, outer.height);
}

/** What was made of the box, in its place, and around the mask what there was. Equals VaeImageProcessor.apply_overlay. */
export function overlay(made: Image, original: Image, mask: Image, box: Box): Image {
  const { width, height } = original;
  const out = paste(cropToFill(made, box.width, box.height), blank(width, height), box.left, box.top);
  const grey = toGrey(mask.data);
  const data = out.data.map((below, i) => {
    const opacity = 255 - grey[Math.floor(i / 3)];
    if (opacity === 0) return below;
    const multiplied = dividedBy255(original.data[i] * opacity);
    const above = Math.min(255, Math.trunc(255 * multiplied / opacity)); // divided again, and rounded each time
    return dividedBy255(above * opacity + below * (255 - opacity));
  });
  return new Image(data, width, height, made.text);
}

/** Scaled to cover `width` x `height`; the middle of it. Equals resize_mode 'crop'. */
export function cropToFill(image: Image, width: number, height: number): Image {
  const wide = width / height > image.width / image.height;
  const [fitWidth, fitHeight] = wide
    ? [width, Math.floor(image.height * width / image.width)]
    : [Math.floor(image.width * height / image.height), height];
  const [left, top] = [Math.floor(width / 2) - Math.floor(fitWidth / 2), Math.floor(height / 2) - Math.floor(fitHeight / 2)];
  return paste(image.resize(fitWidth, fitHeight), blank(width, height), left, top);
}

function dividedBy255(value: number): number {
  return Math.floor(value / 255 + 0.5);
}
