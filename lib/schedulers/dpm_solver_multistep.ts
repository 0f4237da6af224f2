import * as tf from '@tensorflow/tfjs';
import { randn } from '../core/random.js';
import { algorithmTypes, solverSynonyms, solverWeights, type AlgorithmType } from './dpm_solver.js';
import { SolverScheduler, type SolverConfig } from './solver_scheduler.js';
import type { StepLists } from './steps.js';
import type { TimestepSpacing } from './timesteps.js';
import type { SchedulerRules, StepOptions, StepOutput } from './types.js';
import { weightedSum, type Term } from './weighted_sum.js';

export interface DPMSolverMultistepConfig extends SolverConfig {
  solver_order: number;
  timestep_spacing: TimestepSpacing;
  steps_offset: number;
  algorithm_type: AlgorithmType;
  solver_type: 'midpoint' | 'heun';
  /** Takes the last step with order 1. */
  euler_at_final: boolean;
  use_lu_lambdas?: boolean;
  final_sigmas_type?: 'zero' | 'sigma_min';
  variance_type: 'learned' | 'learned_range' | null;
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
    return { prevSample: weightedSum([weights.sample, sample], ...this.outputTerms(index, weights), ...noise) };
  }

  /** The weights of the last outputs, up to three, that make the derivatives at this step. */
  private outputTerms(index: number, { h, output, midpoint, first, second }: ReturnType<typeof solverWeights>): Term[] {
    const order = this.orderAt(index);
    const [m0, m1, m2] = [0, 1, 2].map(age => this.outputs.at(age));
    if (order === 1) return [[output, m0]];
    const lambdas = [0, 1, 2].map(age => this.level(Math.max(index - age, 0)).lambda);
    const r0 = (lambdas[0] - lambdas[1]) / h;
    if (order === 2) {
      const slope = (this.settings.solver_type === 'midpoint' ? midpoint : first) / r0;
      return [[output + slope, m0], [-slope, m1]];
    }
    const r1 = (lambdas[1] - lambdas[2]) / h;
    const bend = (first * r0 + second) / (r0 + r1);
    const slope = (first + bend) / r0;
    return [[output + slope, m0], [-slope - bend / r1, m1], [bend / r1, m2]];
  }

  private orderAt(index: number): number {
    const { euler_at_final, lower_order_final, final_sigmas_type, solver_order } = this.settings;
    const left = this.timesteps.length - index;
    const lowers = lower_order_final && this.timesteps.length < 15;
    if (left === 1 && (euler_at_final || lowers || final_sigmas_type === 'zero')) return 1;
    return Math.min(solver_order, this.outputs.length, left === 2 && lowers ? 2 : 3);
  }
}
