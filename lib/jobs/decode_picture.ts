import { Image } from '../image/image.js';
import { RequestError } from './errors.js';

/** How many times as large as the largest that is drawn a picture may be that is scaled to another size first. */
const SHRINKING = 4;

/**
 * A picture that a client sent; its size is looked at before its pixels are unpacked.
 * @param field what messages call it. @param maxPixels width times height of what is drawn at most.
 * @param resized whether what is drawn has another size than the picture.
 * @throws RequestError
 */
export async function decodePicture(
  field: string, bytes: Uint8Array, { maxPixels, resized = false }: { maxPixels: number; resized?: boolean },
): Promise<Image> {
  try {
    return await Image.fromBytes(bytes, { maxPixels: resized ? SHRINKING * maxPixels : maxPixels });
  } catch (error) {
    throw new RequestError(`${field}: ${(error as Error).message}`);
  }
}
