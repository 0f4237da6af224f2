import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { silu } from './activations.js';
import { Linear } from './linear.js';

export interface SinusoidOptions {
  /** Cosines first. */
  flipSinToCos: boolean;
  /** Makes the slowest frequency 1/10000 (1) or a step faster (0). */
  downscaleFreqShift: number;
}

/**
 * Sines and cosines of each timestep at frequencies from 1 to 1/10000.
 * - timesteps: numbers; out: `[timesteps, dim]`, float32.
 * Equals diffusers' get_timestep_embedding, in float32 as torch computes it: at timestep 999 one float32 rounding moves an angle by 6e-5.
 */
export function getTimestepEmbedding(timesteps: readonly number[], dim: number, options: SinusoidOptions): tf.Tensor2D {
  const half = dim >> 1;
  const values = new Float32Array(timesteps.length * dim); // a last odd column stays 0
  const [sinAt, cosAt] = options.flipSinToCos ? [half, 0] : [0, half];
  for (let i = 0; i < half; i++) {
    const exponent = Math.fround(Math.fround(Math.fround(-Math.log(10000)) * i) / Math.fround(half - options.downscaleFreqShift));
    const frequency = Math.fround(Math.exp(exponent));
    timesteps.forEach((timestep, row) => {
      const angle = Math.fround(Math.fround(timestep) * frequency);
      values[row * dim + sinAt + i] = Math.sin(angle);
      values[row * dim + cosAt + i] = Math.cos(angle);
    });
  }
  return tf.tensor2d(values, [timesteps.length, dim]);
}

/**
 * Two projections with a SiLU between them.
 * - In: `[batch, inChannels]`; out: `[batch, timeEmbedDim]`.
 * - Weights below `linear_1` and `linear_2`.
 * Equals diffusers' TimestepEmbedding.
 */
export class TimestepEmbedding extends Block {
  static className = 'TimestepEmbedding';
  private readonly linear1: Linear;
  private readonly linear2: Linear;

  constructor(inChannels: number, timeEmbedDim: number) {
    super();
    this.linear1 = this.add('linear_1', new Linear(inChannels, timeEmbedDim));
    this.linear2 = this.add('linear_2', new Linear(timeEmbedDim, timeEmbedDim));
  }

  forward(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => this.linear2.forward(silu(this.linear1.forward(x))));
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return this.linear2.computeOutputShape(inputShape);
  }
}
