import type * as tf from '@tensorflow/tfjs';

/** The tensors that a ControlNet adds to a UNet's states: to each state of the way down before the way up joins it, and to the middle's. */
export type ControlNetOutput = {
  /** `[batch, height, width, channels]` each, as the UNet's; height and width are 1 where the config pools. */
  downBlockResSamples: tf.Tensor[];
  /** For the state of the middle block, `[batch, height, width, channels]`. */
  midBlockResSample: tf.Tensor;
};
