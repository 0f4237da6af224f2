import type * as tf from '@tensorflow/tfjs';
import { DDIMScheduler } from './ddim.js';
import { stepEach } from './step_each.js';
import { weightedSum } from './weighted_sum.js';

/**
 * DDIM that can also take steps from several timesteps at once, for parallel sampling (ParaDiGMS, arXiv:2305.16317).
 * Equals DDIMParallelScheduler of diffusers.
 */
export class DDIMParallelScheduler extends DDIMScheduler {
  static override readonly className = 'DDIMParallelScheduler';
  static override readonly interchangeable = false;
  static override readonly adopts = true;

  /**
   * Takes each sample of a batch from a timestep of its own to the next, without noise.
   * @throws Error before setTimesteps, RangeError for a timestep or shape that does not fit.
   */
  batchStepNoNoise(
    modelOutput: tf.Tensor, timesteps: readonly number[], sample: tf.Tensor,
    { useClippedModelOutput }: { useClippedModelOutput?: boolean } = {},
  ): tf.Tensor {
    this.checkStep(modelOutput, sample);
    return stepEach(`${this.name} timesteps`, timesteps, modelOutput, sample, (timestep, output, each) => {
      const { original, noise } = this.separate(output, each, this.alphaProd(timestep), useClippedModelOutput);
      const nextProduct = this.nextAlphaProd(timestep);
      return weightedSum([Math.sqrt(nextProduct), original], [Math.sqrt(1 - nextProduct), noise]);
    });
  }
}
