import * as tf from '@tensorflow/tfjs';

/** How what a UNet predicts of each image several times, for what to avoid and at last for what is wanted, becomes one prediction. */
export interface Guidance {
  /** How often it predicts. */
  readonly times: number;
  /** What it sees of the images once, `[batch, ...]`, to what it sees each time, `[times * batch, ...]`. */
  readonly spread: (sample: tf.Tensor) => tf.Tensor;
  /** `[times * batch, height, width, channels]` to `[batch, height, width, channels]`. */
  readonly combine: (predictions: tf.Tensor) => tf.Tensor;
}

/** Towards one text and away from another: see `guide`. */
export function textGuidance(scale: number, rescale = 0): Guidance {
  return { times: 2, spread: sample => tf.concat([sample, sample]), combine: predictions => guide(predictions, scale, rescale) };
}

/**
 * Towards a picture, and with the picture towards a text (arXiv:2211.09800, 3.2): unconditional + imageScale * (with the picture -
 * unconditional) + scale * (with the text too - with the picture).
 * @param channels how many of the sample's are latents; those behind them are the picture, and zeros for the unconditional prediction.
 * @param rescale as of `guide`.
 */
export function imageGuidance(scale: number, imageScale: number, channels: number, rescale = 0): Guidance {
  return {
    times: 3,
    spread: sample => {
      const [batch, height, width, all] = sample.shape;
      const latents = tf.slice(sample, [0, 0, 0, 0], [batch, height!, width!, channels]);
      return tf.concat([tf.pad(latents, [[0, 0], [0, 0], [0, 0], [0, all! - channels]]), sample, sample]);
    },
    combine: predictions => tf.tidy(() => {
      const [unconditional, ofImage, conditional] = tf.split(predictions, 3);
      const guided = unconditional.add(conditional.sub(ofImage).mul(scale)).add(ofImage.sub(unconditional).mul(imageScale));
      return rescaled(guided, conditional, rescale);
    }),
  };
}

/**
 * Classifier-free guidance (arXiv:2207.12598): unconditional + scale * (conditional - unconditional).
 * - `prediction`: `[2 * batch, height, width, channels]`, the unconditional half first; out: `[batch, height, width, channels]`.
 * - `rescale` from 0 to 1 draws the result's deviation to the conditional one's, against overexposure (arXiv:2305.08891, 3.4).
 */
export function guide(prediction: tf.Tensor, scale: number, rescale = 0): tf.Tensor {
  return tf.tidy(() => {
    const [unconditional, conditional] = tf.split(prediction, 2);
    return rescaled(unconditional.add(conditional.sub(unconditional).mul(scale)), conditional, rescale);
  });
}

function rescaled(guided: tf.Tensor, conditional: tf.Tensor, rescale: number): tf.Tensor {
  if (rescale === 0) return guided;
  const ratio = deviation(conditional).div(deviation(guided)); // [batch, 1, 1, 1]
  return guided.mul(ratio.mul(rescale).add(1 - rescale));
}

/** Standard deviation of each sample. */
function deviation(x: tf.Tensor): tf.Tensor {
  return tf.moments(x, [1, 2, 3], true).variance.sqrt();
}
