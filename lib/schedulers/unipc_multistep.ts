import * as tf from '@tensorflow/tfjs';
import { shifted, stretched } from './flow_sigmas.js';
import { respaces } from './sigmas.js';
import { SolverScheduler, type SolverConfig } from './solver_scheduler.js';
import { customList, type Steps } from './steps.js';
import { linspace, type TimestepSpacing } from './timesteps.js';
import type { StepOutput } from './types.js';
import { solveVandermonde } from './vandermonde.js';
import { weightedSum, type Term } from './weighted_sum.js';

export interface UniPCMultistepConfig extends SolverConfig {
  /** How many predictions a step combines; 2 is recommended with guidance, 3 without. */
  solver_order: number;
  /** Which form of the second order to take. */
  solver_type: 'bh1' | 'bh2';
  /** How the steps are spread over the training steps: `leading`, `linspace` or `trailing`. */
  timestep_spacing: TimestepSpacing;
  /** What is added to each step where they are spaced `leading`; 1 for Stable Diffusion. */
  steps_offset: number;
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type: 'zero' | 'sigma_min';
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr: boolean;
  /** Whether to integrate the predicted original instead of the noise. */
  predict_x0: boolean;
  /** Indices of the steps after which there is no correction. */
  disable_corrector: readonly number[];
  /** Always null: the solver is its own predictor. */
  solver_p: null;
  /** The sigma at the last step, to which flow sigmas are stretched; null for none. */
  shift_terminal: number | null;
}

/**
 * UniPC (arXiv:2302.04867): a multistep predictor, and a corrector that uses the model's next output without calling it again.
 * With flow sigmas it takes lists of sigmas.
 * Equals UniPCMultistepScheduler of diffusers, without `solver_p`.
 */
export class UniPCMultistepScheduler extends SolverScheduler<UniPCMultistepConfig> {
  static override readonly className = 'UniPCMultistepScheduler';
  static override readonly defaults: UniPCMultistepConfig = {
    ...SolverScheduler.defaults, solver_order: 2, predict_x0: true, solver_type: 'bh2', disable_corrector: [], solver_p: null,
    timestep_spacing: 'linspace', steps_offset: 0, final_sigmas_type: 'zero', rescale_betas_zero_snr: false, use_dynamic_shifting: false,
    time_shift_type: 'exponential', sigma_min: null, sigma_max: null, shift_terminal: null,
  };
  static override readonly choices = { ...SolverScheduler.choices, solver_type: ['bh1', 'bh2'], solver_p: [null] };
  static override readonly synonyms = { solver_type: { midpoint: 'bh2', heun: 'bh2', logrho: 'bh2' } };
  protected override readonly takes = this.settings.use_flow_sigmas ? ['sigmas'] as const : [];
  /** The sample that the last step began from, and its order. */
  private readonly origin = this.remember(1);
  private lastOrder = 1;

  constructor(options: Partial<UniPCMultistepConfig> = {}) {
    super(options);
    if (!this.settings.predict_x0 && this.settings.final_sigmas_type === 'zero') {
      throw new RangeError(`${this.name} final_sigmas_type: got 'zero' without predict_x0, takes 'sigma_min'`);
    }
  }

  protected override lastSigma(smallest: number): number {
    return this.settings.final_sigmas_type === 'zero' ? 0 : smallest;
  }

  override countSteps(steps: Steps): number {
    if (customList(steps, 'sigmas') && respaces(this.respacing)) {
      throw new RangeError(`${this.name}: got a list of sigmas, takes none where the config spaces them`);
    }
    return super.countSteps(steps);
  }

  /** Karras sigmas of a flow are shares of the whole, noise / (signal + noise), and so are its timesteps. */
  protected override respacedSteps(sigmas: number[]): { timesteps: number[]; sigmas: number[] } {
    const { use_flow_sigmas, use_karras_sigmas, num_train_timesteps: trained } = this.settings;
    if (!use_flow_sigmas || !use_karras_sigmas) return super.respacedSteps(sigmas);
    const shares = sigmas.map(sigma => sigma / (sigma + 1));
    return { timesteps: shares.map(share => share * trained), sigmas: shares };
  }

  protected override flowSigmas(steps: Steps, shift: number): number[] {
    const { num_train_timesteps: trained, shift_terminal: terminal } = this.settings;
    const even = customList(steps, 'sigmas') ?? linspace(1, 1 / trained, this.numInferenceSteps + 1).slice(0, -1);
    const moved = even.map(sigma => shifted(sigma, shift));
    const sigmas = terminal ? stretched(moved, terminal) : moved;
    if (Math.abs(sigmas[0] - 1) < 1e-6) sigmas[0] -= 1e-6; // so that no alpha is 0
    return sigmas;
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): StepOutput {
    const { predict_x0, solver_order, lower_order_final, disable_corrector } = this.settings;
    const index = this.indexAt(timestep);
    const level = this.level(index);
    const output = predict_x0
      ? this.toOriginal(modelOutput, sample, level)
      : this.predictNoise(modelOutput, sample, level.alpha, level.sigma);
    const corrects = index > 0 && this.origin.length > 0 && !disable_corrector.includes(index - 1);
    const corrected = corrects ? this.update(this.origin.at(0), index - 1, this.lastOrder, output) : sample;
    this.outputs.push(output);
    const left = this.timesteps.length - index;
    this.lastOrder = Math.min(solver_order, this.outputs.length, lower_order_final ? left : solver_order);
    this.origin.push(corrected);
    return { prevSample: this.update(corrected, index, this.lastOrder) };
  }

  /**
   * From the noise level at `index` to the next, with the outputs there and before as many as `order` says; the corrector has
   * `nextOutput` besides.
   */
  private update(sample: tf.Tensor, index: number, order: number, nextOutput?: tf.Tensor): tf.Tensor {
    const { predict_x0, solver_type } = this.settings;
    const [from, to] = [this.level(index), this.level(index + 1)];
    const h = to.lambda - from.lambda;
    const z = predict_x0 ? -h : h;
    const scale = predict_x0 ? to.alpha : to.sigma;
    const phi = Math.expm1(z);
    const b = solver_type === 'bh1' ? z : phi;
    const distances = Array.from({ length: order - 1 }, (_, i) => (this.level(index - 1 - i).lambda - from.lambda) / h);
    if (nextOutput) distances.push(1);
    const weights = distances.length === 1 ? [0.5] : solveVandermonde(distances, phiSeries(z, distances.length).map(value => value / b));
    const slopes = weights.map((weight, i) => -scale * b * weight / distances[i]);
    const terms = slopes.map((slope, i): Term => [slope, nextOutput && i === order - 1 ? nextOutput : this.outputs.at(i + 1)]);
    return weightedSum(
      [predict_x0 ? to.sigma / from.sigma : to.alpha / from.alpha, sample],
      [-scale * phi - slopes.reduce((sum, slope) => sum + slope, 0), this.outputs.at(0)],
      ...terms,
    );
  }
}

/** n! times the phi function of order n + 1 at z, for n from 1 to `count`. */
function phiSeries(z: number, count: number): number[] {
  const values: number[] = [];
  for (let n = 1, factorial = 1, phi = Math.expm1(z) / z - 1; n <= count; n++) {
    values.push(phi * factorial);
    factorial *= n + 1;
    phi = phi / z - 1 / factorial;
  }
  return values;
}
