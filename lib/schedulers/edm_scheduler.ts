import * as tf from '@tensorflow/tfjs';
import { linspace32 } from './noise_schedule.js';
import { Scheduler } from './scheduler.js';
import { linspace } from './timesteps.js';
import type { SchedulerRules } from './types.js';
import { weightedSum } from './weighted_sum.js';

/** Config of the schedulers for models with EDM's preconditioning. */
export interface EDMConfig {
  /** Steps that the model was trained with. */
  num_train_timesteps: number;
  /** What the model predicts: the noise (`epsilon`), the clean `sample`, or the velocity (`v_prediction`). */
  prediction_type: 'epsilon' | 'v_prediction';
  /** The least noise level. */
  sigma_min: number;
  /** The greatest noise level. */
  sigma_max: number;
  /** The standard deviation of the data. */
  sigma_data: number;
  /** How the sigmas between are spaced: evenly in their rho-th root, or in their logarithm. */
  sigma_schedule: 'karras' | 'exponential';
  /** The exponent of the spacing by Karras et al.: larger values put more of the sigmas near the end. */
  rho: number;
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type: 'zero' | 'sigma_min';
}

/**
 * Schedulers for models with EDM's preconditioning (arXiv:2206.00364, table 1): they are told a quarter of sigma's logarithm for a
 * timestep, which may be negative, and see the sample `original + sigma * noise` scaled to a variance of 1.
 */
export abstract class EDMScheduler<C extends EDMConfig = EDMConfig> extends Scheduler<C> {
  static override readonly interchangeable: boolean = false;
  static override readonly defaults: EDMConfig = {
    num_train_timesteps: 1000, prediction_type: 'epsilon', sigma_min: 0.002, sigma_max: 80, sigma_data: 0.5, sigma_schedule: 'karras',
    rho: 7, final_sigmas_type: 'zero',
  };
  static override readonly choices: SchedulerRules['choices'] = {
    prediction_type: ['epsilon', 'v_prediction'], sigma_schedule: ['karras', 'exponential'], final_sigmas_type: ['zero', 'sigma_min'],
  };
  /** Sigma at each of `timesteps` and at the end: `[timesteps + 1]`, falling. */
  sigmas!: Float32Array;

  constructor(options: Partial<C> = {}) {
    super(options);
    for (const key of ['sigma_min', 'sigma_max', 'sigma_data', 'rho'] as const) {
      if (!(this.settings[key] > 0)) throw new RangeError(`${this.name} ${key}: got ${this.settings[key]}, takes a number above 0`);
    }
    this.space(this.settings.num_train_timesteps);
  }

  override get initNoiseSigma(): number {
    return Math.sqrt(this.settings.sigma_max ** 2 + 1);
  }

  override scaleModelInput(sample: tf.Tensor, timestep: number): tf.Tensor {
    return sample.div(Math.hypot(this.sigmas[this.indexAt(timestep)], this.settings.sigma_data));
  }

  override addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    const sigmas = [timestep].flat().map(t => this.sigmas[this.noiseIndex(t)]);
    return tf.tidy(() => weightedSum([1, original], [this.perSample(sigmas, original), noise]));
  }

  override getVelocity(sample: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    const { sigma_data: data } = this.settings;
    const sigmas = [timestep].flat().map(t => this.sigmas[this.indexOf(t)]);
    return tf.tidy(() => weightedSum(
      [this.perSample(sigmas.map(sigma => data / Math.hypot(sigma, data)), noise), noise],
      [this.perSample(sigmas.map(sigma => -sigma / data / Math.hypot(sigma, data)), noise), sample],
    ));
  }

  protected override plan(): void {
    this.space(this.numInferenceSteps);
  }

  /** The noiseless sample, of what the model makes of the scaled one. */
  protected predictOriginal(modelOutput: tf.Tensor, sample: tf.Tensor, sigma: number): tf.Tensor {
    const { sigma_data: data, prediction_type } = this.settings;
    const variance = sigma ** 2 + data ** 2;
    const output = sigma * data / Math.sqrt(variance);
    return weightedSum([data ** 2 / variance, sample], [prediction_type === 'epsilon' ? output : -output, modelOutput]);
  }

  /** Even steps from the rho-th root of one sigma to that of another. */
  protected roots(first: number, last: number, count: number): number[] {
    return linspace(0, 1, count).map(share => first + share * (last - first));
  }

  private space(count: number): void {
    const { sigma_min: min, sigma_max: max, sigma_schedule, rho, final_sigmas_type } = this.settings;
    const sigmas = sigma_schedule === 'karras'
      ? Float32Array.from(this.roots(max ** (1 / rho), min ** (1 / rho), count), root => root ** rho)
      : linspace32(Math.log(min), Math.log(max), count).map(Math.exp).reverse();
    this.sigmas = Float32Array.of(...sigmas, final_sigmas_type === 'zero' ? 0 : sigmas[count - 1]);
    this.timesteps = Array.from(sigmas, sigma => Math.fround(0.25 * Math.fround(Math.log(sigma))));
  }
}
