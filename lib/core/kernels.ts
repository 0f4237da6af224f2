import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';
import type { Operand } from './packed_tensor.js';

/** A tensor that is added to a result, with as many elements; it is made only when the result is written, because it takes memory. */
export type Addend = () => tf.Tensor;

export interface GroupNormOptions {
  readonly groups: number;
  readonly epsilon: number;
  readonly silu: boolean;
}

export interface Conv2dGeometry {
  readonly stride: number;
  /** Top, bottom, left, right. */
  readonly padding: readonly [number, number, number, number];
}

/** GELU by tanh is x * sigmoid(linear * x + cubic * x^3). */
export const GELU_TANH = { linear: 2 * Math.sqrt(2 / Math.PI), cubic: 2 * Math.sqrt(2 / Math.PI) * 0.044715 };

/** What a backend may have better than the ops that a layer would run for it. Numbers come and go in the type that `x` has, halves too. */
export interface Kernels {
  /** x * sigmoid(x) */
  silu(x: tf.Tensor): tf.Tensor;
  /** As the layer GroupNorm, and `silu` of it if that is wanted; undefined where the layer's own ops are faster. */
  groupNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, options: GroupNormOptions): tf.Tensor | undefined;
  /** The same of `x` plus `shift`, which is of each channel, for all samples or for each: `[1 or batch, 1, 1, channels]`. */
  shiftedGroupNorm(x: tf.Tensor, shift: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, options: GroupNormOptions): tf.Tensor;
  /** As the layer Linear, plus `addend`; undefined for sizes that it does not take. Weights may be packed where there is a `Packing`. */
  linear(x: tf.Tensor, weight: Operand, bias?: tf.Tensor, addend?: Addend): tf.Tensor | undefined;
  /** As the layer Conv2d, plus `addend`; undefined for sizes that it does not take. */
  conv2d(x: tf.Tensor, weight: Operand, bias: tf.Tensor | undefined, options: Conv2dGeometry, addend?: Addend): tf.Tensor | undefined;
  /** As the layer LayerNorm, with weight and bias `[features]`, or `[batch, 1, features]` for each sample of `[batch, rows, features]`. */
  layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, options: { epsilon: number }): tf.Tensor;
  /** As the layer RMSNorm. */
  rmsNorm(x: tf.Tensor, weight: tf.Tensor, options: { epsilon: number }): tf.Tensor;
  /** As scaledDotProductAttention, without holding scores; undefined for sizes that it does not take. */
  attention(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, options: { heads: number; mask?: tf.Tensor }): tf.Tensor | undefined;
  /** GELU by tanh, as the activation geluTanh. */
  geluTanh(x: tf.Tensor): tf.Tensor;
  /** value * gelu(gate) of `[..., 2 * features]`, of which the first half is the value. */
  geglu(x: tf.Tensor): tf.Tensor;
  /** Each pixel of `[batch, height, width, channels]` twice as high and wide, up to `size`; undefined for sizes that it does not take. */
  repeatPixels(x: tf.Tensor, size: readonly [number, number]): tf.Tensor | undefined;
  /** Rows of a table, as the layer Embedding; undefined where tfjs's own way is as good. */
  lookUp(table: tf.Tensor, indices: tf.Tensor): tf.Tensor | undefined;
  /** A table with more rows at its end; undefined where tfjs's own way is as good. */
  appendRows(table: tf.Tensor, rows: tf.Tensor): tf.Tensor | undefined;
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
