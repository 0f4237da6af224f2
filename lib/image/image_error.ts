/** A file that is no picture, one of a kind that is not read, or a spoilt one. */
export class ImageError extends Error {
  override name = 'ImageError';
}

/** The most pixels that are read: a small file can hold many more than memory does. */
export const MAX_PIXELS = 1e8;

/** @throws ImageError for a picture of no pixels, or of too many. */
export function checkPixels(width: number, height: number, maxPixels: number): void {
  if (!(width >= 1 && height >= 1 && width * height <= maxPixels)) {
    throw new ImageError(`has ${width} x ${height} pixels, takes from 1 to ${maxPixels}`);
  }
}
