import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';

/** What a backend may have better than the ops that a layer would run for it. Numbers come and go in the type that `x` has, halves too. */
export interface Kernels {
  /** x * sigmoid(x) */
  silu(x: tf.Tensor): tf.Tensor;
  /** As the layer GroupNorm; undefined where the layer's own ops are faster. */
  groupNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, options: { groups: number; epsilon: number }): tf.Tensor | undefined;
  /** As the layer Linear. */
  linear(x: tf.Tensor, weight: tf.Tensor, bias?: tf.Tensor): tf.Tensor;
  /** As the layer LayerNorm. */
  layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, options: { epsilon: number }): tf.Tensor;
  /** How many bytes of attention's scores to hold at once: fewer take longer where each op takes a while to begin. */
  scoreBytes: number;
}

/** A backend's kernels beyond tfjs's own. */
export const networkKernels = new BackendAbility<Partial<Kernels>>();
const NONE: Partial<Kernels> = {};

/** The kernels of the current backend. None while tfjs takes gradients, which it knows of its own kernels alone. */
export function kernels(): Partial<Kernels> {
  return tf.engine().state.gradientDepth > 0 ? NONE : networkKernels.current ?? NONE;
}
