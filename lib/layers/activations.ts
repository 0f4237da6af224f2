import * as tf from '@tensorflow/tfjs';
import { checkOneOf } from '../core/checks.js';
import { GELU_TANH, kernels } from '../core/kernels.js';

/** An activation function, element by element; it does not free its input. */
export type Activation = (x: tf.Tensor) => tf.Tensor;

/** x * sigmoid(x). Equals torch.nn.SiLU. */
export const silu: Activation = x => kernels().silu?.(x) ?? tf.tidy(() => tf.mul(x, tf.sigmoid(x)));

/** x * Phi(x), by erf, not the tanh approximation. Equals torch.nn.GELU. */
export const gelu: Activation = x => tf.tidy(() => {
  const half = tf.mul(x, 0.5);
  return tf.add(half, tf.mul(half, tf.erf(tf.mul(x, Math.SQRT1_2))));
});

/** x * sigmoid(1.702 x), the approximation that OpenAI's CLIP was trained with. */
export const quickGelu: Activation = x => tf.tidy(() => tf.mul(x, tf.sigmoid(tf.mul(x, 1.702))));

/**
 * GELU by tanh: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), where (1 + tanh(a)) / 2 is sigmoid(2 a).
 * Equals torch.nn.GELU(approximate='tanh').
 */
export const geluTanh: Activation = x => kernels().geluTanh?.(x) ?? tf.tidy(() => {
  const { linear, cubic } = GELU_TANH;
  return tf.mul(x, tf.sigmoid(tf.mul(x, tf.add(tf.mul(tf.square(x), cubic), linear))));
});

/** x * tanh(log(1 + exp(x))). Equals torch.nn.Mish (arXiv:1908.08681). */
export const mish: Activation = x => tf.tidy(() => tf.mul(x, tf.tanh(tf.softplus(x))));

/** Those that diffusers' configs name, and those that transformers' do besides. */
const BLOCK_ACTIVATIONS: Record<string, Activation> = { silu, swish: silu, mish, gelu, relu: x => tf.relu(x) };
const ACTIVATIONS: Record<string, Activation> = {
  ...BLOCK_ACTIVATIONS, quick_gelu: quickGelu, gelu_new: geluTanh, gelu_pytorch_tanh: geluTanh,
};

/** The activation that a config of transformers names at `key`. @throws RangeError for an unknown name. */
export function getActivation(key: string, name: string): Activation {
  return ACTIVATIONS[checkOneOf(key, name, Object.keys(ACTIVATIONS))];
}

/** The activation that a config of diffusers names at `key`, in any case. @throws RangeError for an unknown name. */
export function getBlockActivation(key: string, name: string): Activation {
  return BLOCK_ACTIVATIONS[checkOneOf(key, name.toLowerCase(), Object.keys(BLOCK_ACTIVATIONS))];
}
