import type * as tf from '@tensorflow/tfjs';
import { DDPMScheduler } from './ddpm.js';
import { stepEach } from './step_each.js';

/**
 * DDPM that can also take steps from several timesteps at once, for parallel sampling (ParaDiGMS, arXiv:2305.16317).
 * Equals DDPMParallelScheduler of diffusers.
 */
export class DDPMParallelScheduler extends DDPMScheduler {
  static override readonly className = 'DDPMParallelScheduler';
  static override readonly interchangeable = false;
  static override readonly adopts = true;

  /**
   * Takes each sample of a batch from a timestep of its own to the next, without the noise, which is the caller's to add.
   * @throws Error before setTimesteps, RangeError for a timestep or shape that does not fit.
   */
  batchStepNoNoise(modelOutput: tf.Tensor, timesteps: readonly number[], sample: tf.Tensor): tf.Tensor {
    this.checkStep(modelOutput, sample);
    return stepEach(`${this.name} timesteps`, timesteps, modelOutput, sample, (timestep, output, each) => (
      this.expect(output, each, this.alphaProd(timestep), this.nextAlphaProd(timestep)).mean
    ));
  }
}
