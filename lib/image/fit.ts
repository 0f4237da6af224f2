import { Image } from './image.js';
import { blank, paste } from './paste.js';
import { toGrey, type Box } from './pixels.js';
import { resizePixels } from './resize.js';

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

/**
 * Scaled to cover `width` x `height`; the middle of it. Equals resize_mode 'crop'. What is cut off is never computed, for it has no bound:
 * of one column of pixels it is thousands of times what stays.
 */
export function cropToFill(image: Image, width: number, height: number): Image {
  const wide = width / height > image.width / image.height;
  const [fitWidth, fitHeight] = wide
    ? [width, Math.floor(image.height * width / image.width)]
    : [Math.floor(image.width * height / image.height), height];
  const [left, top] = [Math.floor(width / 2) - Math.floor(fitWidth / 2), Math.floor(height / 2) - Math.floor(fitHeight / 2)];
  const shown = { width: Math.min(width, fitWidth), height: Math.min(height, fitHeight) };
  const part = { left: Math.max(0, -left), top: Math.max(0, -top), ...shown };
  const middle = Image.of(resizePixels(image.pixels, fitWidth, fitHeight, 'lanczos', part));
  return paste(middle, blank(width, height), Math.max(0, left), Math.max(0, top));
}

function dividedBy255(value: number): number {
  return Math.floor(value / 255 + 0.5);
}
