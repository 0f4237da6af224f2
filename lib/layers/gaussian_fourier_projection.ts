import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { widen } from '../core/precision.js';

/**
 * Sines and cosines of numbers at frequencies that were drawn once.
 * - In: `[numbers, 1]`; out: `[numbers, 2 * frequencies]`, float32.
 * - Weights: `weight`: `[frequencies]`.
 * Equals diffusers' GaussianFourierProjection without logarithm.
 */
export class GaussianFourierProjection extends Block {
  static className = 'GaussianFourierProjection';

  /** @param flipSinToCos cosines first. */
  constructor(frequencies: number, private readonly flipSinToCos: boolean) {
    super();
    this.addParameter('weight', [frequencies]);
  }

  compute(x: tf.Tensor): tf.Tensor {
    const angles = tf.mul(tf.mul(x, widen(this.parameter('weight'))), 2 * Math.PI);
    const parts = [tf.sin(angles), tf.cos(angles)];
    return tf.concat(this.flipSinToCos ? parts.reverse() : parts, -1);
  }
}
