import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { getTimestepEmbedding, TimestepEmbedding } from './timestep_embedding.js';

/** Sines and cosines of each timestep. */
const FREQUENCIES = 256;

/**
 * One embedding of the timestep and of the text as one vector.
 * - In: sines and cosines `[1 or batch, 256]` as `sinusoid` gives them, the text `[batch, pooledDim]`; out: `[batch, dim]`.
 * - Weights below `timestep_embedder`, `text_embedder`.
 * Equals diffusers' CombinedTimestepTextProjEmbeddings.
 */
export class CombinedTimestepTextProjEmbeddings extends Block {
  static className = 'CombinedTimestepTextProjEmbeddings';
  private readonly timestepEmbedder: TimestepEmbedding;
  private readonly textEmbedder: TimestepEmbedding;

  constructor(dim: number, pooledDim: number) {
    super();
    this.timestepEmbedder = this.add('timestep_embedder', new TimestepEmbedding(FREQUENCIES, dim));
    this.textEmbedder = this.add('text_embedder', new TimestepEmbedding(pooledDim, dim));
  }

  /** `[timesteps, 256]`. Call it outside of a graph, which would otherwise keep these timesteps for ever. */
  static sinusoid(timesteps: readonly number[]): tf.Tensor {
    return getTimestepEmbedding(timesteps, FREQUENCIES, { flipSinToCos: true, downscaleFreqShift: 0 });
  }

  compute(sinusoid: tf.Tensor, pooled: tf.Tensor): tf.Tensor {
    return tf.add(this.timestepEmbedder.forward(sinusoid), this.textEmbedder.forward(pooled));
  }
}
