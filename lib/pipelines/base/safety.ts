import * as tf from '@tensorflow/tfjs';
import { Image } from '../../image/image.js';
import type { CLIPImageProcessor } from '../../models/clip_image_processor.js';
import type { StableDiffusionSafetyChecker } from '../../models/safety_checker.js';

/** What looks at pictures before they are given. */
interface Guard {
  readonly safetyChecker: StableDiffusionSafetyChecker;
  readonly featureExtractor: CLIPImageProcessor;
}

/** Pictures, of which those that were detected are black. */
export interface CheckedPictures {
  images: Image[] | tf.Tensor;
  nsfwContentDetected?: boolean[];
}

/** Makes pictures, or a tensor of them (taken over), black that may not be safe for work, and warns of it. */
export async function hideUnsafe(guard: Guard, images: Image[] | tf.Tensor): Promise<CheckedPictures> {
  const nsfwContentDetected = await detect(guard, images).catch(error => {
    if (!Array.isArray(images)) images.dispose();
    throw error;
  });
  const count = nsfwContentDetected.filter(detected => detected).length;
  if (count === 0) return { images, nsfwContentDetected };
  const of = count === 1 ? 'a picture' : `${count} pictures`;
  console.warn(`generate: ${of} may not be safe for work, and given black instead; try another prompt or seed`);
  if (Array.isArray(images)) {
    const black = ({ width, height }: Image) => new Image(new Uint8Array(width * height * 3), width, height);
    return { images: images.map((image, i) => nsfwContentDetected[i] ? black(image) : image), nsfwContentDetected };
  }
  const shown = tf.tidy(() => tf.mul(images, tf.tensor(nsfwContentDetected.map(detected => detected ? 0 : 1), [images.shape[0], 1, 1, 1])));
  images.dispose();
  return { images: shown, nsfwContentDetected };
}

async function detect({ safetyChecker, featureExtractor }: Guard, images: Image[] | tf.Tensor): Promise<boolean[]> {
  const pixels = featureExtractor.preprocess(Array.isArray(images) ? images : await Image.fromTensor(images));
  return safetyChecker.detect(pixels).finally(() => pixels.dispose());
}
