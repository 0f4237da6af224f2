import * as tf from '@tensorflow/tfjs';
import { checkOneOf } from '../core/checks.js';
import { kernels } from '../core/kernels.js';

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

const ACTIVATIONS: Record<string, Activation> = { silu, swish: silu, gelu, quick_gelu: quickGelu };

/** The activation that a config names. @throws RangeError for an unknown name. */
export function getActivation(name: string): Activation {
  return ACTIVATIONS[checkOneOf('activation', name, Object.keys(ACTIVATIONS))];
}
