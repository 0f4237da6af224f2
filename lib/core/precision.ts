import type * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';

/**
 * tfjs has no dtype below float32. A backend that can hold and compute float16 or bfloat16 does so behind tensors that say float32,
 * and provides how to go from one to the other. Everywhere else these are the same, and nothing happens.
 */
export interface Precision {
  /** `x` as true float32; `x` itself where it is. */
  widen(x: tf.Tensor): tf.Tensor;
  /** `x` in the number type that `like` has; `x` itself where it has it. */
  narrow(x: tf.Tensor, like: tf.Tensor): tf.Tensor;
}

export const precisions = new BackendAbility<Precision>();

/** Whether the current backend computes halves. */
export function hasHalves(): boolean {
  return precisions.current !== undefined;
}

/** For sums over many values, whose rounding float16 would not survive: as torch, norms compute in float32. */
export function widen(x: tf.Tensor): tf.Tensor {
  return precisions.current?.widen(x) ?? x;
}

/** Back to what `like` is, after `widen`. */
export function narrow(x: tf.Tensor, like: tf.Tensor): tf.Tensor {
  return precisions.current?.narrow(x, like) ?? x;
}
