import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { silu, type Activation } from './activations.js';
import { Linear } from './linear.js';

/** Options of `getTimestepEmbedding`. */
export interface SinusoidOptions {
  /** Cosines first. */
  flipSinToCos: boolean;
  /** 1 makes the slowest frequency 1/10000, 0 makes it one step faster. */
  downscaleFreqShift: number;
}

/**
 * Sines and cosines of each timestep at frequencies from 1 to 1/10000.
 * - timesteps: numbers; out: `[timesteps, dim]`, float32.
 * Equals diffusers' get_timestep_embedding, in float32 as torch computes it: at timestep 999 one float32 rounding moves an angle by 6e-5.
 */
export function getTimestepEmbedding(timesteps: readonly number[], dim: number, options: SinusoidOptions): tf.Tensor2D {
  const half = Math.fround((dim >> 1) - options.downscaleFreqShift);
  const exponent = (i: number) => Math.fround(Math.fround(Math.fround(-Math.log(10000)) * i) / half);
  return sinusoids(timesteps, dim, exponent, options.flipSinToCos);
}

/**
 * The guidance scale as an input of a model that was distilled with guidance: sines and cosines of 1000 (scale - 1), at frequencies from 1
 * to 1/10000.
 * - guidanceScales: numbers; out: `[guidanceScales, dim]`, float32.
 * Equals get_guidance_scale_embedding of diffusers' pipelines, in float32 as torch computes it (arXiv:2310.04378).
 */
export function getGuidanceScaleEmbedding(guidanceScales: readonly number[], dim: number): tf.Tensor2D {
  const spacing = Math.fround(Math.fround(Math.log(10000)) / ((dim >> 1) - 1));
  return sinusoids(guidanceScales.map(scale => Math.fround(scale - 1) * 1000), dim, i => Math.fround(i * -spacing), false);
}

/** `[positions, dim]`: sines, then cosines, of each position at frequencies e^exponent(i), or cosines first. */
function sinusoids(positions: readonly number[], dim: number, exponent: (i: number) => number, cosinesFirst: boolean): tf.Tensor2D {
  const half = dim >> 1;
  const values = new Float32Array(positions.length * dim); // a last odd column stays 0
  const [sinAt, cosAt] = cosinesFirst ? [half, 0] : [0, half];
  for (let i = 0; i < half; i++) {
    const frequency = Math.fround(Math.exp(exponent(i)));
    positions.forEach((position, row) => {
      const angle = Math.fround(Math.fround(position) * frequency);
      values[row * dim + sinAt + i] = Math.sin(angle);
      values[row * dim + cosAt + i] = Math.cos(angle);
    });
  }
  return tf.tensor2d(values, [positions.length, dim]);
}

/** Options of `TimestepEmbedding`. */
export interface TimestepEmbeddingOptions {
  /** Between the projections; SiLU by default. */
  activation?: Activation;
  /** Features of a condition that is projected to the input's and added to it, if there is one. */
  conditionDim?: number | null;
  /** Behind the projections, if there is one. */
  postActivation?: Activation;
}

/**
 * Two projections with an activation between them.
 * - In: `[batch, inChannels]`, and a condition `[batch or 1, conditionDim]` or none; out: `[batch, outFeatures]`.
 * - Weights below `linear_1`, `linear_2`, and `cond_proj` where there is a conditionDim.
 * Equals diffusers' TimestepEmbedding.
 */
export class TimestepEmbedding extends Block {
  static className = 'TimestepEmbedding';
  private readonly linear1: Linear;
  private readonly condProj?: Linear;
  private readonly linear2: Linear;
  private readonly activation: Activation;
  private readonly postActivation?: Activation;

  constructor(
    inChannels: number, readonly outFeatures: number, { activation = silu, conditionDim, postActivation }: TimestepEmbeddingOptions = {},
  ) {
    super();
    this.activation = activation;
    this.postActivation = postActivation;
    this.linear1 = this.add('linear_1', new Linear(inChannels, outFeatures));
    if (conditionDim) this.condProj = this.add('cond_proj', new Linear(conditionDim, inChannels, { bias: false }));
    this.linear2 = this.add('linear_2', new Linear(outFeatures, outFeatures));
  }

  compute(x: tf.Tensor, condition?: tf.Tensor): tf.Tensor {
    const input = condition && this.condProj ? tf.add(x, this.condProj.forward(condition)) : x;
    const embedded = this.linear2.forward(this.activation(this.linear1.forward(input)));
    return this.postActivation?.(embedded) ?? embedded;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return this.linear2.computeOutputShape(inputShape);
  }
}
