import * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../core/checks.js';
import { BetaScheduler } from './beta_scheduler.js';
import { shifted } from './flow_sigmas.js';
import { thresholdingDefaults, type ThresholdingConfig } from './limits.js';
import { respacedSigmas, respacingDefaults, sigmaAt, sigmaTable, timestepAt, type RespacingConfig } from './sigmas.js';
import { customList, type Steps, type TimestepsOptions } from './steps.js';
import { linspace, roundHalfToEven, spacedTimesteps, type SpacingConfig, type TimestepSpacing } from './timesteps.js';
import { predictionTypes, type BetaSchedulerConfig, type SchedulerRules } from './types.js';
import { weightedQuotient, weightedSum } from './weighted_sum.js';

export interface SolverConfig extends BetaSchedulerConfig, RespacingConfig, ThresholdingConfig {
  /** How many predictions a step combines; 2 is recommended with guidance, 3 without. */
  solver_order?: number;
  /** Which form of the second order to take. */
  solver_type?: string;
  /** Uses lower orders in the last two of fewer than 15 steps. */
  lower_order_final: boolean;
  /** For models of flows: the sample is `(1 - sigma) * original + sigma * noise`. */
  use_flow_sigmas: boolean;
  /** How far the noise levels of a flow are moved towards the noise. */
  flow_shift: number;
  /** Whether that depends on the size of the picture (`mu` of setTimesteps). */
  use_dynamic_shifting?: boolean;
  /** The curve of the shift. */
  time_shift_type?: 'exponential' | 'linear';
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type?: 'zero' | 'sigma_min';
  /** How the steps are spread over the training steps: `leading`, `linspace` or `trailing`. */
  timestep_spacing?: TimestepSpacing;
  /** What is added to each step where they are spaced `leading`; 1 for Stable Diffusion. */
  steps_offset?: number;
  /** Leaves off timesteps whose lambda is less; for squaredcos_cap_v2. */
  lambda_min_clipped?: number | null;
}

/** A noise level: the sample is `alpha * original + sigma * noise`, and lambda is log(alpha / sigma). */
export interface Level {
  readonly alpha: number;
  readonly sigma: number;
  readonly lambda: number;
}

/** Solvers of the diffusion equation in its exponential form: DPM-Solver, UniPC and DEIS, which share their schedules. */
export abstract class SolverScheduler<C extends SolverConfig = SolverConfig> extends BetaScheduler<C> {
  static override readonly defaults: SolverConfig = {
    ...BetaScheduler.defaults, ...thresholdingDefaults, ...respacingDefaults, lower_order_final: true, use_flow_sigmas: false,
    flow_shift: 1,
  };
  static override readonly choices: SchedulerRules['choices'] = {
    ...BetaScheduler.choices, prediction_type: [...predictionTypes, 'flow_prediction'], time_shift_type: ['exponential', 'linear'],
    final_sigmas_type: ['zero', 'sigma_min'],
  };
  /** Noise over signal at each of `timesteps` and at the end: `[timesteps + 1]`, falling. */
  sigmas: Float32Array;
  /** The same at each training step, rising. */
  protected readonly table: Float32Array;
  /** What the model made of the last steps, as the solver wants it. */
  protected readonly outputs = this.remember(this.longestHistory);

  constructor(options: Partial<C> = {}) {
    super(options);
    this.table = sigmaTable(this.alphasCumprod);
    this.sigmas = Float32Array.of(...this.table.slice().reverse(), 0);
  }

  override addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    const levels = [timestep].flat().map(t => this.level(this.noiseIndex(t)));
    return tf.tidy(() => weightedSum(
      [this.perSample(levels.map(({ alpha }) => alpha), original), original],
      [this.perSample(levels.map(({ sigma }) => sigma), original), noise],
    ));
  }

  /** How many outputs of the model to remember. */
  protected get longestHistory(): number {
    return checkInteger(`${this.name} solver_order`, this.settings.solver_order!, 1, 3);
  }

  /** The sigmas that others are spaced between. */
  protected get ends(): [first: number, last: number] {
    return [this.table[this.table.length - 1], this.table[0]];
  }

  /** The sigma that timesteps lead to. */
  protected get tableEnd(): number {
    return this.table[0];
  }

  protected override plan(steps: Steps, { mu }: TimestepsOptions): void {
    const { settings, table } = this;
    const count = this.numInferenceSteps;
    const respaced = respacedSigmas(this.respacing, ...this.ends, count);
    if (respaced) {
      const { timesteps, sigmas } = this.respacedSteps(respaced);
      this.adopt(timesteps, sigmas, this.lastSigma(sigmas[count - 1]));
    } else if (settings.use_flow_sigmas) {
      const shift = mu === undefined ? settings.flow_shift : settings.time_shift_type === 'linear' ? mu : Math.exp(mu);
      const sigmas = this.flowSigmas(steps, shift);
      this.adopt(sigmas.map(sigma => sigma * settings.num_train_timesteps), sigmas, this.lastSigma(sigmas[count - 1]));
    } else {
      const timesteps = customList(steps, 'timesteps') ?? this.spaced();
      this.adopt(timesteps, timesteps.map(t => sigmaAt(table, t)), this.lastSigma(this.tableEnd));
    }
  }

  /** The steps of sigmas as the config spaces them. */
  protected respacedSteps(sigmas: number[]): { timesteps: number[]; sigmas: number[] } {
    const timesteps = sigmas.map(sigma => timestepAt(this.table, sigma));
    const rounds = (this.settings.use_karras_sigmas || this.settings.use_lu_lambdas) && this.roundsTimesteps;
    return { timesteps: rounds ? timesteps.map(roundHalfToEven) : timesteps, sigmas };
  }

  /** Whether Karras sigmas and lu lambdas make for whole timesteps by rounding; else, as all others, by truncation. */
  protected get roundsTimesteps(): boolean {
    return true;
  }

  /** The sigma that the last step ends at; `smallest` is the one before, or of the training steps where timesteps space the sigmas. */
  protected lastSigma(smallest: number): number;
  protected lastSigma(): number {
    return this.settings.final_sigmas_type === 'zero' ? 0 : this.table[0];
  }

  protected flowSigmas(_steps: Steps, shift: number): number[] {
    const { num_train_timesteps: trained } = this.settings;
    const even = linspace(1, 1 / trained, this.numInferenceSteps + 1).map(alpha => 1 - alpha);
    return even.map(sigma => shifted(sigma, shift)).slice(1).reverse();
  }

  /** The noise level at the step `index` of the run. */
  protected level(index: number): Level {
    const ratio = this.sigmas[index];
    const alpha = this.settings.use_flow_sigmas ? 1 - ratio : 1 / Math.sqrt(ratio ** 2 + 1);
    const sigma = this.settings.use_flow_sigmas ? ratio : ratio * alpha;
    return { alpha, sigma, lambda: Math.log(alpha / sigma) };
  }

  /** What the model predicts, as the noiseless sample. */
  protected toOriginal(modelOutput: tf.Tensor, sample: tf.Tensor, { alpha, sigma }: Level): tf.Tensor {
    return this.limit(this.predictOriginal(this.meanOf(modelOutput), sample, alpha, sigma));
  }

  /** What the model predicts, as noise. */
  protected toNoise(modelOutput: tf.Tensor, sample: tf.Tensor, level: Level): tf.Tensor {
    const { alpha, sigma } = level;
    if (!this.settings.thresholding) return this.predictNoise(this.meanOf(modelOutput), sample, alpha, sigma);
    return weightedQuotient(sigma, [1, sample], [-alpha, this.toOriginal(modelOutput, sample, level)]);
  }

  /** How many of the training steps lambda_min_clipped leaves. */
  protected get clippedLength(): number {
    const clipped = this.settings.lambda_min_clipped ?? -Infinity;
    return this.table.filter(sigma => -Math.log(sigma) >= clipped).length;
  }

  protected get spacing(): SpacingConfig {
    const { num_train_timesteps, timestep_spacing = 'linspace', steps_offset = 0 } = this.settings;
    return { num_train_timesteps, timestep_spacing, steps_offset };
  }

  /** The timesteps of a run, where nothing else spaces them. */
  protected spaced(): number[] {
    return spacedTimesteps(this.spacing, this.numInferenceSteps, { last: this.clippedLength, extra: 1 }).map(roundHalfToEven);
  }

  protected adopt(timesteps: number[], sigmas: number[], last: number): void {
    this.timesteps = timesteps.map(Math.trunc);
    this.sigmas = Float32Array.of(...sigmas, last);
  }
}
