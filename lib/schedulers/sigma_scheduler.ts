import * as tf from '@tensorflow/tfjs';
import { timed } from '../core/profile.js';
import { BetaScheduler } from './beta_scheduler.js';
import { respacedSigmas, sigmaAt, sigmaTable, timestepAt, type RespacingConfig } from './sigmas.js';
import { customList, type Steps } from './steps.js';
import { spacedTimesteps, type SpacingConfig } from './timesteps.js';
import type { BetaSchedulerConfig } from './types.js';
import { weightedSum } from './weighted_sum.js';

export interface SigmaSchedulerConfig extends BetaSchedulerConfig, SpacingConfig, RespacingConfig {}

/**
 * Schedulers that see the sample as `original + sigma * noise` (arXiv:2206.00364) and scale it down for the model.
 * Timesteps need not be whole numbers.
 */
export abstract class SigmaScheduler<C extends SigmaSchedulerConfig = SigmaSchedulerConfig> extends BetaScheduler<C> {
  static override readonly defaults: SigmaSchedulerConfig = { ...BetaScheduler.defaults, timestep_spacing: 'linspace', steps_offset: 0 };
  /** Sigma at each of `timesteps` and at the end: `[timesteps + 1]`, falling. */
  sigmas: Float32Array;
  /** Sigma at each training step, rising. */
  protected readonly table: Float32Array;

  constructor(options: Partial<C> = {}) {
    super(options);
    this.table = sigmaTable(this.alphasCumprod);
    this.sigmas = Float32Array.of(...this.table.slice().reverse(), 0);
  }

  override get initNoiseSigma(): number {
    const max = this.sigmas.reduce((a, b) => Math.max(a, b));
    return this.settings.timestep_spacing === 'leading' ? Math.sqrt(max ** 2 + 1) : max;
  }

  override scaleModelInput(sample: tf.Tensor, timestep: number): tf.Tensor {
    return timed(this, () => sample.div(Math.sqrt(this.inputSigma(this.indexAt(timestep)) ** 2 + 1)), 'scaleModelInput');
  }

  override addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    const sigmas = [timestep].flat().map(t => this.sigmas[this.noiseIndex(t)]);
    return tf.tidy(() => weightedSum([1, original], [this.perSample(sigmas, original), noise]));
  }

  protected override plan(steps: Steps): void {
    const { timesteps, sigmas } = this.spaced(steps);
    this.timesteps = timesteps.map(Math.fround);
    this.sigmas = Float32Array.of(...sigmas, 0);
  }

  /** The sigma that the model's input is scaled for. */
  protected inputSigma(index: number): number {
    return this.sigmas[index];
  }

  /** One sigma for each timestep, as the config spaces them; without the last. */
  protected spaced(steps: Steps): { timesteps: number[]; sigmas: number[] } {
    const count = this.numInferenceSteps;
    const timesteps = (customList(steps, 'timesteps') ?? spacedTimesteps(this.settings, count)).map(Math.fround);
    const sigmas = timesteps.map(t => sigmaAt(this.table, t));
    const respaced = respacedSigmas(this.respacing, sigmas[0], sigmas[sigmas.length - 1], count);
    if (!respaced) return { timesteps, sigmas };
    return { timesteps: respaced.map(sigma => timestepAt(this.table, sigma)), sigmas: respaced };
  }

  /** Sigmas of steps that call the model twice: each but the first and the last stands for an end and a beginning. */
  protected doubled(sigmas: Iterable<number>): Float32Array {
    const [first, ...rest] = sigmas;
    return Float32Array.of(first, ...rest.slice(0, -1).flatMap(sigma => [sigma, sigma]), ...rest.slice(-1));
  }

  /** The noiseless sample, where the sample itself is not scaled. */
  protected override predictOriginal(modelOutput: tf.Tensor, sample: tf.Tensor, sigma: number): tf.Tensor {
    if (this.settings.prediction_type !== 'v_prediction') return super.predictOriginal(modelOutput, sample, 1, sigma);
    return weightedSum([1 / (sigma ** 2 + 1), sample], [-sigma / Math.sqrt(sigma ** 2 + 1), modelOutput]);
  }
}
