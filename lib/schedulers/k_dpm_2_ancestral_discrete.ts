import { ancestralSigmas } from './euler_ancestral_discrete.js';
import { KDPM2DiscreteScheduler, type Aim } from './k_dpm_2_discrete.js';

/**
 * KDPM2 to below the next sigma, and noise up to it again: the sample depends on the generator at every step.
 * Equals KDPM2AncestralDiscreteScheduler of diffusers.
 */
export class KDPM2AncestralDiscreteScheduler extends KDPM2DiscreteScheduler {
  static override readonly className = 'KDPM2AncestralDiscreteScheduler';

  protected override aim(from: number, to: number): Aim {
    const { up, down } = ancestralSigmas(from, to);
    return { sigma: down, noise: up };
  }
}
