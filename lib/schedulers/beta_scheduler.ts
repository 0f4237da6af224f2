import * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../core/checks.js';
import { alphasCumprodOf, betaSchedules, noiseScheduleDefaults } from './noise_schedule.js';
import { Scheduler } from './scheduler.js';
import type { Steps, TimestepsOptions } from './steps.js';
import { timestepSpacings } from './timesteps.js';
import { predictionTypes, type BetaSchedulerConfig, type SchedulerRules } from './types.js';
import { weightedQuotient, weightedSum } from './weighted_sum.js';

/**
 * Schedulers of models that were trained with betas: each training step leaves a share of the clean sample's variance, its alpha product,
 * and noise in place of the rest.
 */
export abstract class BetaScheduler<C extends BetaSchedulerConfig = BetaSchedulerConfig> extends Scheduler<C> {
  static override readonly defaults: BetaSchedulerConfig = { ...noiseScheduleDefaults, prediction_type: 'epsilon' };
  static override readonly choices: SchedulerRules['choices'] = {
    beta_schedule: betaSchedules, prediction_type: predictionTypes, timestep_spacing: timestepSpacings,
  };
  /** The alpha product of each training step, falling. */
  protected readonly alphasCumprod: Float32Array;

  constructor(options: Partial<C> = {}) {
    super(options);
    this.alphasCumprod = alphasCumprodOf(this.settings);
  }

  override setTimesteps(steps: Steps, options?: TimestepsOptions): void {
    super.setTimesteps(steps, options);
    const trained = this.settings.num_train_timesteps;
    const outside = this.timesteps.find(t => !(t < trained)); // or no number, of strange betas
    if (outside !== undefined) {
      throw new RangeError(`${this.name} timesteps: got ${outside}, takes less than num_train_timesteps, ${trained}`);
    }
  }

  override addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    return this.mix(original, noise, timestep);
  }

  override getVelocity(sample: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    return tf.tidy(() => this.mix(noise, sample.neg(), timestep));
  }

  protected alphaProd(timestep: number): number {
    return this.alphasCumprod[checkInteger(`${this.name} timestep`, timestep, 0, this.alphasCumprod.length - 1)];
  }

  /** That of the training step where even steps from `timestep` lead; `atEnd` beyond the first. */
  protected nextAlphaProd(timestep: number, atEnd = 1): number {
    const next = timestep - Math.floor(this.settings.num_train_timesteps / this.numInferenceSteps);
    return next >= 0 ? this.alphaProd(next) : atEnd;
  }

  /** The noiseless sample, as the model sees it. */
  protected predictOriginal(modelOutput: tf.Tensor, sample: tf.Tensor, alpha: number, sigma: number): tf.Tensor {
    switch (this.settings.prediction_type) {
      case 'epsilon': return weightedQuotient(alpha, [1, sample], [-sigma, modelOutput]);
      case 'sample': return modelOutput.clone();
      case 'v_prediction': return weightedSum([alpha, sample], [-sigma, modelOutput]);
      case 'flow_prediction': return weightedSum([1, sample], [-sigma, modelOutput]);
    }
  }

  /** The noise in the sample, as the model sees it. */
  protected predictNoise(modelOutput: tf.Tensor, sample: tf.Tensor, alpha: number, sigma: number): tf.Tensor {
    switch (this.settings.prediction_type) {
      case 'epsilon': return modelOutput.clone();
      case 'sample': return weightedQuotient(sigma, [1, sample], [-alpha, modelOutput]);
      case 'v_prediction': return weightedSum([sigma, sample], [alpha, modelOutput]);
      case 'flow_prediction': return weightedSum([1, sample], [1 - sigma, modelOutput]);
    }
  }

  /** `signal` and `noise` in the shares that they have at `timestep`. */
  protected mix(signal: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    const alphas = [timestep].flat().map(t => this.alphaProd(t));
    return tf.tidy(() => weightedSum(
      [this.perSample(alphas.map(Math.sqrt), signal), signal],
      [this.perSample(alphas.map(alpha => Math.sqrt(1 - alpha)), signal), noise],
    ));
  }
}
