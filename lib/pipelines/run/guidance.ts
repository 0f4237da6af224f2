import * as tf from '@tensorflow/tfjs';

/** Combines a UNet's several predictions for one image (negative prompts first, then the prompt) into one. */
export interface Guidance {
  /** How many predictions there are for each image. */
  readonly times: number;
  /** How many of them, at the beginning, are for negative prompts. */
  readonly avoided: number;
  /** Paths of the self-attentions that the last prediction goes without, if it does. */
  readonly perturbedLayers?: readonly string[];
  /** Repeats the input for each prediction: `[batch, ...]` to `[times * batch, ...]`. */
  readonly spread: (sample: tf.Tensor) => tf.Tensor;
  /** `[times * batch, height, width, channels]`, predicted at a timestep, to `[batch, height, width, channels]`. In a tidy. */
  readonly combine: (predictions: tf.Tensor, timestep: number) => tf.Tensor;
}

/** Away from another text (classifier-free guidance, arXiv:2207.12598): how strongly, and how far it is kept from overexposing. */
export interface TextGuidance {
  readonly scale: number;
  /** From 0 to 1: draws the result's deviation to the wanted prediction's (arXiv:2305.08891, 3.4). */
  readonly rescale: number;
}

/** Away from a prediction without some self-attentions (arXiv:2403.17377): which, by their paths, and how strongly at a timestep. */
export interface PerturbedAttentionGuidance {
  readonly layers: readonly string[];
  readonly scaleAt: (timestep: number) => number;
}

/** One prediction, for what is wanted. */
export const unguided: Guidance = { times: 1, avoided: 0, spread: sample => sample, combine: prediction => prediction };

/**
 * Towards a text: wanted + (text.scale - 1) * (wanted - avoided) + scaleAt * (wanted - perturbed), as far as there are such.
 * Equals guidance in diffusers' pipelines, and PAGMixin's.
 */
export function towardsText(text?: TextGuidance, perturbed?: PerturbedAttentionGuidance): Guidance {
  if (!text && !perturbed) return unguided;
  const avoided = text ? 1 : 0;
  const times = avoided + (perturbed ? 2 : 1);
  return {
    times, avoided, perturbedLayers: perturbed?.layers,
    spread: sample => tf.concat(Array<tf.Tensor>(times).fill(sample)),
    combine: (predictions, timestep) => {
      const each = tf.split(predictions, times);
      const wanted = each[avoided];
      const guided = text ? each[0].add(wanted.sub(each[0]).mul(text.scale)) : wanted;
      const moved = perturbed ? guided.add(wanted.sub(each[times - 1]).mul(perturbed.scaleAt(timestep))) : guided;
      return text ? rescaled(moved, wanted, text.rescale) : moved;
    },
  };
}

/**
 * Towards a picture, and with the picture towards a text (arXiv:2211.09800, 3.2): unconditional + imageScale * (with the picture -
 * unconditional) + scale * (with the text too - with the picture).
 * @param channels how many of the sample's are latents; those behind them are the picture, and zeros for the unconditional prediction.
 */
export function towardsPicture({ scale, rescale }: TextGuidance, imageScale: number, channels: number): Guidance {
  return {
    times: 3,
    avoided: 2,
    spread: sample => {
      const [batch, height, width, all] = sample.shape;
      const latents = tf.slice(sample, [0, 0, 0, 0], [batch, height!, width!, channels]);
      return tf.concat([tf.pad(latents, [[0, 0], [0, 0], [0, 0], [0, all! - channels]]), sample, sample]);
    },
    combine: predictions => {
      const [unconditional, ofImage, conditional] = tf.split(predictions, 3);
      const guided = unconditional.add(conditional.sub(ofImage).mul(scale)).add(ofImage.sub(unconditional).mul(imageScale));
      return rescaled(guided, conditional, rescale);
    },
  };
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
