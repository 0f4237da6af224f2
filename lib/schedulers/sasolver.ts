import type * as tf from '@tensorflow/tfjs';
import { checkInteger, show } from '../core/checks.js';
import { SolverScheduler, type SolverConfig } from './solver_scheduler.js';
import type { TimestepSpacing } from './timesteps.js';
import type { StepOptions, StepOutput } from './types.js';
import { solveVandermonde } from './vandermonde.js';
import { weightedSum, type Term } from './weighted_sum.js';

export interface SASolverConfig extends SolverConfig {
  /** How many predictions the predictor combines, from 1 to 4. */
  predictor_order: number;
  /** How many predictions the corrector combines. */
  corrector_order: number;
  /**
   * A function of the timestep: how stochastic a step is, 0 being not at all. By default 1 from 200 to 800, and 0 elsewhere. It is not
   * saved in files.
   */
  tau_func: ((timestep: number) => number) | null;
  /** Whether the predicted original or the noise is interpolated. */
  algorithm_type: 'data_prediction' | 'noise_prediction';
  /** How the steps are spread over the training steps: `leading`, `linspace` or `trailing`. */
  timestep_spacing: TimestepSpacing;
  /** What is added to each step where they are spaced `leading`; 1 for Stable Diffusion. */
  steps_offset: number;
  /** Which variance the added noise has; `learned` ones are predicted by the model, in as many channels again. */
  variance_type: 'learned' | 'learned_range' | null;
}

const HIGHEST_ORDER = 4;

/**
 * SA-Solver (arXiv:2309.05019): stochastic Adams methods, a multistep predictor and a corrector that uses the model's next output without
 * calling it again, with as much noise as tau says.
 * Equals SASolverScheduler of diffusers.
 */
export class SASolverScheduler extends SolverScheduler<SASolverConfig> {
  static override readonly className = 'SASolverScheduler';
  static override readonly interchangeable = false;
  static override readonly adopts = true;
  static override readonly defaults: SASolverConfig = {
    ...SolverScheduler.defaults, predictor_order: 2, corrector_order: 2, tau_func: null, algorithm_type: 'data_prediction',
    lambda_min_clipped: -Infinity, variance_type: null, timestep_spacing: 'linspace', steps_offset: 0,
  };
  static override readonly choices = { ...SolverScheduler.choices, algorithm_type: ['data_prediction', 'noise_prediction'] };
  /** What the last step kept of its sample with the noise that it added, and how stochastic it was. */
  private readonly carried = this.remember(1);
  private tau = 0;

  constructor(options: Partial<SASolverConfig> = {}) {
    super(options);
    const { tau_func } = this.settings;
    if (tau_func !== null && typeof tau_func !== 'function') {
      throw new RangeError(`${this.name} tau_func: got ${show(tau_func)}, takes null or a function of the timestep`);
    }
  }

  override addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor {
    return this.mix(original, noise, timestep); // as strong as in training, wherever the run's sigmas are
  }

  protected override get longestHistory(): number {
    const { predictor_order, corrector_order } = this.settings;
    const orders = Object.entries({ predictor_order, corrector_order });
    return Math.max(...orders.map(([name, order]) => checkInteger(`${this.name} ${name}`, order, 1, HIGHEST_ORDER)));
  }

  protected override lastSigma(smallest: number): number {
    return smallest;
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const { algorithm_type, predictor_order, corrector_order, lower_order_final, tau_func } = this.settings;
    const index = this.indexAt(timestep);
    const left = this.timesteps.length - index;
    const level = this.level(index);
    const ofOriginal = algorithm_type === 'data_prediction';
    this.outputs.push(ofOriginal ? this.toOriginal(modelOutput, sample, level) : this.toNoise(modelOutput, sample, level));
    const orderOf = (most: number, still: number) => Math.min(most, this.outputs.length, lower_order_final ? still : most);
    const corrected = this.carried.length === 0
      ? sample
      : weightedSum([1, this.carried.at(0)], ...this.outputTerms(index - 1, this.tau, orderOf(corrector_order, left + 2)));
    this.tau = tau_func ? tau_func(timestep) : timestep >= 200 && timestep <= 800 ? 1 : 0;
    this.carried.push(this.carry(corrected, this.drawNoise(sample, options), index));
    return { prevSample: weightedSum([1, this.carried.at(0)], ...this.outputTerms(index, this.tau, orderOf(predictor_order, left))) };
  }

  /** What a step keeps of the sample, and the noise that it adds. */
  private carry(sample: tf.Tensor, noise: tf.Tensor, index: number): tf.Tensor {
    const [from, to] = [this.level(index), this.level(index + 1)];
    const [h, variance] = [to.lambda - from.lambda, this.tau ** 2];
    const [kept, added] = this.settings.algorithm_type === 'data_prediction'
      ? [to.sigma / from.sigma * Math.exp(-h * variance), Math.sqrt(-Math.expm1(-2 * h * variance))]
      : [to.alpha / from.alpha, this.tau * Math.sqrt(Math.expm1(2 * h))];
    return weightedSum([kept, sample], [to.sigma * added, noise]);
  }

  /** What the newest `order` outputs add in the step from `index`, by the polynomial in lambda through them. */
  private outputTerms(index: number, tau: number, order: number): Term[] {
    const ofOriginal = this.settings.algorithm_type === 'data_prediction';
    const [from, to] = [this.level(index), this.level(index + 1)];
    const h = to.lambda - from.lambda;
    const rate = ofOriginal ? 1 + tau ** 2 : -1;
    const points = Array.from({ length: order }, (_, age) => this.level(this.stepIndex! - age).lambda - to.lambda);
    const weights = solveVandermonde(points, exponentialMoments(rate, h, order));
    if (ofOriginal && order === 2) { // of third order in h: better for few steps
      const bend = (h ** 2 / 2 - (h * rate + Math.expm1(-h * rate)) / rate ** 2) / (points[0] - points[1]);
      weights[0] += bend;
      weights[1] -= bend;
    }
    const scale = (1 + tau ** 2) * (ofOriginal ? to.alpha : -to.sigma);
    return weights.map((weight, age) => [scale * weight, this.outputs.at(age)]);
  }
}

/** The integrals of exp(rate u) u^k over u from -h to 0, for k from 0 below `count`. */
function exponentialMoments(rate: number, h: number, count: number): number[] {
  const moments = [-Math.expm1(-rate * h) / rate];
  for (let k = 1; k < count; k++) moments.push((-((-h) ** k) * Math.exp(-rate * h) - k * moments[k - 1]) / rate);
  return moments;
}
