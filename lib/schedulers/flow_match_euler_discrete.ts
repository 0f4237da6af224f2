import * as tf from '@tensorflow/tfjs';
import { checkNumber } from '../core/checks.js';
import { randn } from '../core/random.js';
import { shifted, stretched } from './flow_sigmas.js';
import { Scheduler } from './scheduler.js';
import { respacedSigmas, respacingDefaults } from './sigmas.js';
import { customList, type Steps, type TimestepsOptions } from './steps.js';
import { linspace } from './timesteps.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

export interface FlowMatchEulerDiscreteConfig {
  /** Steps that the model was trained with. */
  num_train_timesteps: number;
  /** Above 1, more of the steps are where there is much noise. */
  shift: number;
  /**
   * Whether to shift by the `mu` of `setTimesteps` instead, which pipelines compute from the size of the picture, between `base_shift` and
   * `max_shift`.
   */
  use_dynamic_shifting: boolean;
  /** The shift of the smallest pictures, where it depends on their size. */
  base_shift: number;
  /** The shift of the largest pictures. */
  max_shift: number;
  /** Tokens of the smallest pictures. */
  base_image_seq_len: number;
  /** Tokens of the largest. */
  max_image_seq_len: number;
  /** The curve of the shift. */
  time_shift_type: 'exponential' | 'linear';
  /** Whether sigmas are shares of the original, not of the noise. */
  invert_sigmas: boolean;
  /** The sigma at the last step, to which all are stretched; null for none. */
  shift_terminal: number | null;
  /** Whether noise levels are spaced as by Karras et al. (arXiv:2206.00364): more of them near the end. */
  use_karras_sigmas: boolean;
  /** Whether noise levels are spaced evenly in their logarithm. */
  use_exponential_sigmas: boolean;
  /** Whether noise levels are spaced by the beta distribution (arXiv:2407.12173). */
  use_beta_sigmas: boolean;
  /** Whether new noise is drawn at each step. */
  stochastic_sampling: boolean;
}

/**
 * Euler's method for models of flows (arXiv:2209.03003, arXiv:2403.03206): the sample is `(1 - sigma) * original + sigma * noise`, and the
 * model predicts the way from the original to the noise. Timesteps are sigmas in training steps, and no whole numbers.
 * Takes lists of timesteps, up to num_train_timesteps, and of sigmas, up to 1, which are shifted and spaced as the config says, and lead
 * to 0.
 * Equals FlowMatchEulerDiscreteScheduler of diffusers; `addNoise` is its scale_noise.
 * @throws TypeError from setTimesteps without `mu` where the config has use_dynamic_shifting.
 */
export class FlowMatchEulerDiscreteScheduler extends Scheduler<FlowMatchEulerDiscreteConfig> {
  static override readonly className = 'FlowMatchEulerDiscreteScheduler';
  static override readonly interchangeable = false;
  static override readonly defaults: FlowMatchEulerDiscreteConfig = {
    ...respacingDefaults, num_train_timesteps: 1000, shift: 1, use_dynamic_shifting: false, base_shift: 0.5, max_shift: 1.15,
    base_image_seq_len: 256, max_image_seq_len: 4096, time_shift_type: 'exponential', invert_sigmas: false, shift_terminal: null,
    stochastic_sampling: false,
  };
  static override readonly choices = { time_shift_type: ['exponential', 'linear'] };
  /** The share of noise at each of `timesteps` and at the end: `[timesteps + 1]`. */
  sigmas: Float32Array;
  protected override readonly takes = ['timesteps', 'sigmas'] as const;
  /** The sigmas of the first and the last training step. */
  private readonly ends: readonly [max: number, min: number];

  constructor(options: Partial<FlowMatchEulerDiscreteConfig> = {}) {
    super(options);
    const { num_train_timesteps: trained, use_dynamic_shifting, shift } = this.settings;
    if (!(shift > 0)) throw new RangeError(`${this.name} shift: got ${shift}, takes a number above 0`);
    const even = Float32Array.from({ length: trained }, (_, i) => (trained - i) / trained);
    this.sigmas = use_dynamic_shifting ? even : even.map(sigma => shifted(sigma, shift));
    this.timesteps = Array.from(this.sigmas, sigma => Math.fround(sigma * trained));
    this.ends = [this.sigmas[0], this.sigmas[trained - 1]];
  }

  override countSteps(steps: Steps): number {
    const count = super.countSteps(steps);
    for (const [name, most] of [['timesteps', this.settings.num_train_timesteps], ['sigmas', 1]] as const) {
      customList(steps, name)?.forEach(value => checkNumber(`${this.name} ${name}`, value, 0, most));
    }
    return count;
  }

  override addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    const sigmas = [timestep].flat().map(t => this.sigmas[this.noiseIndex(t)]);
    return tf.tidy(() => weightedSum(
      [this.perSample(sigmas.map(sigma => 1 - sigma), original), original], [this.perSample(sigmas, original), noise],
    ));
  }

  /** What a model of flows should predict: the same at every timestep. */
  override getVelocity(sample: tf.Tensor, noise: tf.Tensor): tf.Tensor {
    return noise.sub(sample);
  }

  protected override plan(steps: Steps, { mu }: TimestepsOptions): void {
    const { num_train_timesteps: trained, shift_terminal: terminal, invert_sigmas } = this.settings;
    const timesteps = customList(steps, 'timesteps');
    const [max, min] = this.ends.map(sigma => sigma * trained);
    const given = customList(steps, 'sigmas') ?? (timesteps ?? linspace(max, min, this.numInferenceSteps)).map(t => t / trained);
    const shift = this.shiftOf(mu);
    const moved = given.map(sigma => shifted(sigma, shift));
    const ending = terminal ? stretched(moved, terminal) : moved;
    const spaced = respacedSigmas(this.respacing, ending[0], ending[ending.length - 1], ending.length) ?? ending;
    const sigmas = Float32Array.from(spaced, sigma => invert_sigmas ? 1 - Math.fround(sigma) : sigma);
    this.sigmas = Float32Array.of(...sigmas, invert_sigmas ? 1 : 0);
    this.timesteps = Array.from(timesteps && !invert_sigmas ? timesteps : sigmas.map(sigma => sigma * trained), Math.fround);
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, { generator }: StepOptions): StepOutput {
    const [from, to] = this.sigmas.slice(this.indexAt(timestep));
    if (!this.settings.stochastic_sampling) return { prevSample: weightedSum([1, sample], [to - from, modelOutput]) };
    const predOriginalSample = weightedSum([1, sample], [-from, modelOutput]);
    const noise = randn(sample.shape, generator); // always of float32
    return { prevSample: weightedSum([1 - to, predOriginalSample], [to, noise]), predOriginalSample };
  }

  private shiftOf(mu: number | undefined): number {
    const { use_dynamic_shifting, time_shift_type, shift } = this.settings;
    if (!use_dynamic_shifting) return shift;
    if (mu === undefined) throw new TypeError(`${this.name} mu: got none, takes a number where the config has use_dynamic_shifting`);
    return time_shift_type === 'linear' ? mu : Math.exp(mu);
  }
}
