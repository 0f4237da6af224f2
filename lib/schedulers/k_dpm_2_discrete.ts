import * as tf from '@tensorflow/tfjs';
import { SigmaScheduler, type SigmaSchedulerConfig } from './sigma_scheduler.js';
import { respacingDefaults, timestepAt } from './sigmas.js';
import type { Steps } from './steps.js';
import { roundHalfToEven } from './timesteps.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

/** Where a step between two sigmas aims at, and how much noise it adds there. */
export interface Aim {
  readonly sigma: number;
  readonly noise: number;
}

/**
 * DPM-Solver-2 in sigmas (arXiv:2206.00927, arXiv:2206.00364): each step but the last calls the model a second time, half-way in log sigma.
 * Equals KDPM2DiscreteScheduler of diffusers.
 */
export class KDPM2DiscreteScheduler extends SigmaScheduler<SigmaSchedulerConfig> {
  static override readonly className: string = 'KDPM2DiscreteScheduler';
  static override readonly defaults: SigmaSchedulerConfig = {
    ...SigmaScheduler.defaults, ...respacingDefaults, beta_start: 0.00085, beta_end: 0.012,
  };
  static override readonly choices = { ...SigmaScheduler.choices, prediction_type: ['epsilon', 'v_prediction'] };
  override readonly order = 2;
  /** The sample at the beginning of a step that is half done. */
  private readonly origin = this.remember(1);

  protected override plan(steps: Steps): void {
    const spaced = this.spaced(steps);
    const timesteps = this.settings.use_karras_sigmas ? spaced.timesteps.map(roundHalfToEven) : spaced.timesteps;
    const sigmas = [...spaced.sigmas.map(Math.fround), 0];
    const between = sigmas.slice(0, -2).map((sigma, i) => timestepAt(this.table, this.middle(sigma, sigmas[i + 1])));
    this.timesteps = timesteps.flatMap((t, i) => i === 0 ? [t] : [between[i - 1], t]).map(Math.fround);
    this.sigmas = this.doubled(sigmas);
  }

  protected override inputSigma(index: number): number {
    return this.origin.length === 0 ? this.sigmas[index] : this.middle(this.sigmas[index - 1], this.sigmas[index]);
  }

  protected aim(_from: number, to: number): Aim {
    return { sigma: to, noise: 0 };
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const index = this.indexAt(timestep);
    if (this.origin.length === 0) {
      const [from, to] = [this.sigmas[index], this.sigmas[index + 1]];
      const predOriginalSample = this.predictOriginal(modelOutput, sample, from);
      const rest = this.middle(from, to) / from; // of the noise
      this.origin.push(sample);
      return { prevSample: weightedSum([rest, sample], [1 - rest, predOriginalSample]), predOriginalSample };
    }
    const [from, to] = [this.sigmas[index - 1], this.sigmas[index]];
    const middle = this.middle(from, to);
    const aim = this.aim(from, to);
    const predOriginalSample = this.predictOriginal(modelOutput, sample, middle);
    const way = (aim.sigma - from) / middle;
    const noise = aim.noise > 0 ? [[aim.noise, this.drawNoise(sample, options)] as const] : [];
    const prevSample = weightedSum([1, this.origin.at(0)], [way, sample], [-way, predOriginalSample], ...noise);
    this.origin.clear();
    return { prevSample, predOriginalSample };
  }

  private middle(from: number, to: number): number {
    return Math.sqrt(from * this.aim(from, to).sigma);
  }
}
