import * as tf from '@tensorflow/tfjs';

/**
 * Classifier-free guidance (arXiv:2207.12598): unconditional + scale * (conditional - unconditional).
 * - `prediction`: `[2 * batch, height, width, channels]`, the unconditional half first; out: `[batch, height, width, channels]`.
 * - `rescale` from 0 to 1 draws the result's deviation to the conditional one's, against overexposure (arXiv:2305.08891, 3.4).
 */
export function guide(prediction: tf.Tensor, scale: number, rescale = 0): tf.Tensor {
  return tf.tidy(() => {
    const [unconditional, conditional] = tf.split(prediction, 2);
    const guided = unconditional.add(conditional.sub(unconditional).mul(scale));
    if (rescale === 0) return guided;
    const ratio = deviation(conditional).div(deviation(guided)); // [batch, 1, 1, 1]
    return guided.mul(ratio.mul(rescale).add(1 - rescale));
  });
}

/** Standard deviation of each sample. */
function deviation(x: tf.Tensor): tf.Tensor {
  return tf.moments(x, [1, 2, 3], true).variance.sqrt();
}
