import { checkInteger } from '../core/checks.js';
import type { Image } from './image.js';
import { blank, paste } from './paste.js';

/**
 * Lays pictures of one size out in rows, left to right.
 * Equals diffusers' make_image_grid.
 * @throws RangeError unless there are `rows * cols` pictures of the same size.
 */
export function makeImageGrid(images: readonly Image[], { rows, cols }: { rows: number; cols: number }): Image {
  checkInteger('rows', rows, 1);
  checkInteger('cols', cols, 1);
  if (images.length !== rows * cols) {
    throw new RangeError(`makeImageGrid: got ${images.length} images, takes ${rows * cols} for ${rows} rows of ${cols}`);
  }
  const { width, height } = images[0];
  const grid = blank(cols * width, rows * height);
  images.forEach((image, i) => {
    if (image.width !== width || image.height !== height) {
      throw new RangeError(
        `makeImageGrid: image ${i} is ${image.width} x ${image.height} pixels, the first ${width} x ${height}: all must be of one size`);
    }
    paste(image, grid, (i % cols) * width, Math.floor(i / cols) * height);
  });
  return grid;
}
