import type * as tf from '@tensorflow/tfjs';
import { EDMScheduler } from './edm_scheduler.js';
import { eulerStep } from './euler_step.js';
import type { StepOptions, StepOutput } from './types.js';

/**
 * Euler's method on the probability flow, with its churn of noise, for models with EDM's preconditioning (arXiv:2206.00364, algorithm 2).
 * Equals EDMEulerScheduler of diffusers, without lists of sigmas, which there are shares of the way between the ends.
 */
export class EDMEulerScheduler extends EDMScheduler {
  static override readonly className = 'EDMEulerScheduler';

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const [from, to] = this.sigmas.slice(this.indexAt(timestep));
    return eulerStep(
      sample, { from, to, steps: this.sigmas.length - 1 }, options, () => this.drawNoise(sample, options),
      (churned, sigma) => this.predictOriginal(modelOutput, churned, sigma),
    );
  }
}
