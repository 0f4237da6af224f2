import { checkInteger } from '../core/checks.js';
import { Image } from './image.js';

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
  const grid = new Uint8Array(images.length * width * height * 3);
  images.forEach((image, i) => {
    if (image.width !== width || image.height !== height) {
      throw new RangeError(
        `makeImageGrid: image ${i} is ${image.width} x ${image.height} pixels, the first ${width} x ${height}: all must be of one size`);
    }
    const left = (i % cols) * width;
    const top = Math.floor(i / cols) * height;
    for (let y = 0; y < height; y++) {
      grid.set(image.data.subarray(y * width * 3, (y + 1) * width * 3), ((top + y) * cols * width + left) * 3);
    }
  });
  return new Image(grid, cols * width, rows * height);
}
