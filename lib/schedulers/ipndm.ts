import * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';
import { adamsBashforth } from './adams_bashforth.js';
import { linspace32 } from './noise_schedule.js';
import { Scheduler } from './scheduler.js';
import type { SchedulerConfig, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

export interface IPNDMConfig extends Pick<SchedulerConfig, 'num_train_timesteps'> {
  /** The share of noise at each step of a run and at its end, from 1 to 0, whatever number of steps is asked for; not betas. */
  trained_betas: readonly number[] | null;
}

const { fround } = Math;
const PI = fround(Math.PI);

/**
 * Pseudo linear multistep of order 4 (arXiv:2202.09778), for models that take the timestep as an angle between signal and noise, from 1 to
 * 0, and predict velocities.
 * Equals IPNDMScheduler of diffusers, and has `addNoise`, which that lacks.
 * @throws RangeError for `trained_betas` that are not two or more numbers from 0 to 1.
 */
export class IPNDMScheduler extends Scheduler<IPNDMConfig> {
  static override readonly className = 'IPNDMScheduler';
  static override readonly interchangeable = false;
  static override readonly defaults: IPNDMConfig = { num_train_timesteps: 1000, trained_betas: null };
  /** The share of noise at each of `timesteps` and at the end: `[timesteps + 1]`, falling. */
  private sigmas!: Float32Array;
  private readonly slopes = this.remember(4);

  constructor(options: Partial<IPNDMConfig> = {}) {
    super(options);
    this.setAngles(this.settings.num_train_timesteps);
  }

  override addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    const sigmas = [timestep].flat().map(t => this.sigmas[this.indexOf(t)]);
    return tf.tidy(() => weightedSum(
      [this.perSample(sigmas.map(signalShare), original), original], [this.perSample(sigmas, original), noise],
    ));
  }

  override getVelocity(sample: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    return tf.tidy(() => this.addNoise(noise, sample.neg(), timestep));
  }

  protected override plan(): void {
    this.setAngles(this.numInferenceSteps);
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): StepOutput {
    const index = this.indexAt(timestep);
    const [sigma, nextSigma] = this.sigmas.slice(index);
    const alpha = signalShare(sigma);
    this.slopes.push(weightedSum([sigma, sample], [alpha, modelOutput]));
    const noise = adamsBashforth(this.slopes);
    const signal = weightedSum([1, sample], [-sigma, noise]);
    return { prevSample: weightedSum([signalShare(nextSigma) / Math.max(alpha, 1e-8), signal], [nextSigma, noise]) };
  }

  private setAngles(steps: number): void {
    this.sigmas = noiseShares(this.settings, steps);
    this.timesteps = Array.from(this.sigmas.slice(0, -1), sigma => fround(fround(Math.atan2(sigma, signalShare(sigma)) / PI) * 2));
  }
}

function noiseShares({ trained_betas: trained }: IPNDMConfig, steps: number): Float32Array {
  if (trained === null) return linspace32(1, 0, steps + 1).map(time => Math.sin(fround(time * PI) / 2)).map(sine => sine ** 2);
  if (!Array.isArray(trained) || trained.length < 2 || !trained.every(share => Number.isFinite(share) && share >= 0 && share <= 1)) {
    throw new RangeError(`trained_betas: got ${show(trained)}, takes two or more numbers from 0 to 1`);
  }
  return Float32Array.from(trained);
}

function signalShare(sigma: number): number {
  return fround(Math.sqrt(1 - fround(sigma ** 2)));
}
