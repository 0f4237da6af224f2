import * as tf from '@tensorflow/tfjs';
import { Block } from './block.js';

/** A layer of one input, or a function. */
export type Step = Block | ((x: tf.Tensor) => tf.Tensor);

/** One step after another, freeing each state as soon as the next is there: a tidy around all of them would hold them to its end. */
export function follow(x: tf.Tensor, steps: readonly Step[]): tf.Tensor {
  return steps.reduce<tf.Tensor>((state, step) => {
    const next = step instanceof Block ? step.forward(state) as tf.Tensor : tf.tidy(() => step(state));
    if (state !== x && state !== next) state.dispose();
    return next;
  }, x);
}
