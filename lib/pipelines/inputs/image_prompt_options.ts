import type * as tf from '@tensorflow/tfjs';
import type { Image } from '../../image/image.js';

/** A picture as IP-Adapters take it, several that count together, or what the featureExtractor makes of such, as a tensor. */
export type ImagePrompt = Image | readonly Image[] | tf.Tensor;

/** Pictures that lead besides the text, where IP-Adapters are loaded. */
export interface ImagePromptOptions {
  /** What to make a picture like: one for each IP-Adapter, or several that count together, `[[one, other]]`. */
  ipAdapterImage?: Image | tf.Tensor | readonly ImagePrompt[];
  /**
   * Instead of pictures, for each IP-Adapter what the image encoder says of them: `[1, pictures, features]`, or of Plus and Full Face
   * `[1, pictures, states, features]`; with guidance `[2, ...]`, what to avoid first.
   */
  ipAdapterImageEmbeds?: readonly tf.Tensor[];
  /**
   * Where the pictures count, for each IP-Adapter as many masks as pictures, white where they do; scaled to the picture that is made. A
   * tensor is `[pictures, height, width, 1]` within [0, 1].
   */
  ipAdapterMasks?: ReadonlyArray<Image | Image[] | tf.Tensor | undefined>;
}

/** Pictures that lead, checked: for each IP-Adapter. */
export interface ImagePromptRequest {
  readonly prompts: ReadonlyArray<{ readonly images: ImagePrompt } | { readonly embeds: tf.Tensor }>;
  readonly masks?: ReadonlyArray<Image | Image[] | tf.Tensor | undefined>;
}
