import type * as tf from '@tensorflow/tfjs';
import type { Image } from '../../image/image.js';

/** A picture for an IP-Adapter, several pictures that count together, or a tensor that the featureExtractor made of them. */
export type ImagePrompt = Image | readonly Image[] | tf.Tensor;

/** Options for pictures as prompts, if IP-Adapters are loaded. */
export interface ImagePromptOptions {
  /** The picture prompts: one for each IP-Adapter, or several that count together, `[[one, other]]`. */
  ipAdapterImage?: Image | tf.Tensor | readonly ImagePrompt[];
  /**
   * Instead of pictures, the image encoder's embeddings for each IP-Adapter: `[1, pictures, features]`, or for Plus and Full Face `[1,
   * pictures, states, features]`; with guidance `[2, ...]`, the negative ones first.
   */
  ipAdapterImageEmbeds?: readonly tf.Tensor[];
  /**
   * Masks for each IP-Adapter, as many as pictures, white where the picture acts; they are scaled to the picture that is made. A tensor is
   * `[pictures, height, width, 1]` within [0, 1].
   */
  ipAdapterMasks?: ReadonlyArray<Image | Image[] | tf.Tensor | undefined>;
}

/** Pictures that lead, checked: for each IP-Adapter. */
export interface ImagePromptRequest {
  readonly prompts: ReadonlyArray<{ readonly images: ImagePrompt } | { readonly embeds: tf.Tensor }>;
  readonly masks?: ReadonlyArray<Image | Image[] | tf.Tensor | undefined>;
}
