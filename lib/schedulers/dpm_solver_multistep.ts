import * as tf from '@tensorflow/tfjs';
import { randn } from '../core/random.js';
import {
  algorithmTypes, multistepOrder, multistepTerms, solverSynonyms, solverWeights, type AlgorithmType, type MultistepConfig,
} from './dpm_solver.js';
import { SolverScheduler, type SolverConfig } from './solver_scheduler.js';
import type { StepLists } from './steps.js';
import type { TimestepSpacing } from './timesteps.js';
import type { SchedulerRules, StepOptions, StepOutput } from './types.js';
import { weightedSum, type Term } from './weighted_sum.js';

export interface DPMSolverMultistepConfig extends SolverConfig, MultistepConfig {
  /** How many predictions a step combines; 2 is recommended with guidance, 3 without. */
  solver_order: number;
  /** How the steps are spread over the training steps: `leading`, `linspace` or `trailing`. */
  timestep_spacing: TimestepSpacing;
  /** What is added to each step where they are spaced `leading`; 1 for Stable Diffusion. */
  steps_offset: number;
  /** Which of the formulas to solve by; names with `sde` add noise at each step. */
  algorithm_type: AlgorithmType;
  /** Which form of the second order to take. */
  solver_type: 'midpoint' | 'heun';
  /** Whether noise levels are evenly spaced in log-SNR, as in Lu's solver. */
  use_lu_lambdas?: boolean;
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type?: 'zero' | 'sigma_min';
  /** Which variance the added noise has; `learned` ones are predicted by the model, in as many channels again. */
  variance_type: 'learned' | 'learned_range' | null;
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr?: boolean;
}

/**
 * DPM-Solver and DPM-Solver++ of orders 1 to 3 (arXiv:2206.00927, arXiv:2211.01095), from the outputs of earlier steps.
 * Takes lists of timesteps.
 * Equals DPMSolverMultistepScheduler of diffusers.
 */
export class DPMSolverMultistepScheduler extends SolverScheduler<DPMSolverMultistepConfig> {
  static override readonly className: string = 'DPMSolverMultistepScheduler';
  static override readonly defaults: DPMSolverMultistepConfig = {
    ...SolverScheduler.defaults, solver_order: 2, algorithm_type: 'dpmsolver++', solver_type: 'midpoint', euler_at_final: false,
    use_lu_lambdas: false, final_sigmas_type: 'zero', lambda_min_clipped: -Infinity, variance_type: null, timestep_spacing: 'linspace',
    steps_offset: 0, rescale_betas_zero_snr: false, use_dynamic_shifting: false, time_shift_type: 'exponential',
  };
  static override readonly choices: SchedulerRules['choices'] = {
    ...SolverScheduler.choices, algorithm_type: algorithmTypes, solver_type: ['midpoint', 'heun'],
  };
  static override readonly synonyms = solverSynonyms;
  protected override readonly takes: StepLists = ['timesteps'];

  constructor(options: Partial<DPMSolverMultistepConfig> = {}) {
    super(options);
    const { algorithm_type: algorithm, final_sigmas_type: final, solver_order: order } = this.settings;
    if (!algorithm.endsWith('++') && final === 'zero') {
      throw new RangeError(`${this.name} final_sigmas_type: got 'zero' with algorithm_type '${algorithm}', takes 'sigma_min'`);
    }
    if (algorithm === 'sde-dpmsolver' && order === 3) {
      throw new RangeError(`${this.name} solver_order: got 3 with algorithm_type '${algorithm}', takes 1, 2`);
    }
  }

  protected override get roundsTimesteps(): boolean {
    return this.settings.beta_schedule !== 'squaredcos_cap_v2';
  }

  protected override advance(
    modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, { generator, varianceNoise }: StepOptions,
  ): StepOutput {
    const { algorithm_type: algorithm } = this.settings;
    const index = this.indexAt(timestep);
    const level = this.level(index);
    const ofOriginal = algorithm.endsWith('++');
    this.outputs.push(ofOriginal ? this.toOriginal(modelOutput, sample, level) : this.toNoise(modelOutput, sample, level));
    const weights = solverWeights(algorithm, level, this.level(index + 1));
    const draw = () => varianceNoise ?? randn(sample.shape, generator); // always of float32
    const noise: Term[] = algorithm.startsWith('sde') ? [[weights.noise, draw()]] : [];
    const order = multistepOrder(this.settings, index, this.timesteps.length, this.outputs.length);
    const lambdas = [0, 1, 2].map(age => this.level(Math.max(index - age, 0)).lambda);
    const terms = multistepTerms(this.outputs, order, lambdas, this.settings.solver_type, weights);
    return { prevSample: weightedSum([weights.sample, sample], ...terms, ...noise) };
  }
}
