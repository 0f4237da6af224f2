import * as tf from '@tensorflow/tfjs';
import { solverSynonyms, solverWeights, type AlgorithmType } from './dpm_solver.js';
import { SolverScheduler, type SolverConfig } from './solver_scheduler.js';
import type { Steps, TimestepsOptions } from './steps.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum, type Term } from './weighted_sum.js';

export interface DPMSolverSinglestepConfig extends SolverConfig {
  /** How many predictions a step combines; 2 is recommended with guidance, 3 without. */
  solver_order: number;
  /** Which of the formulas to solve by; names with `sde` add noise at each step. */
  algorithm_type: Exclude<AlgorithmType, 'sde-dpmsolver'>;
  /** Which form of the second order to take. */
  solver_type: 'midpoint' | 'heun';
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type: 'zero' | 'sigma_min';
  /** Which variance the added noise has; `learned` ones are predicted by the model, in as many channels again. */
  variance_type: 'learned' | 'learned_range' | null;
}

/**
 * DPM-Solver and DPM-Solver++ of orders 1 to 3 (arXiv:2206.00927, arXiv:2211.01095), in groups of steps that rise to the order and
 * begin from one sample. With `lower_order_final`, or where the last sigma is zero or the steps make no whole groups, lower orders end it.
 * Takes lists of timesteps.
 * Equals DPMSolverSinglestepScheduler of diffusers.
 */
export class DPMSolverSinglestepScheduler extends SolverScheduler<DPMSolverSinglestepConfig> {
  static override readonly className = 'DPMSolverSinglestepScheduler';
  static override readonly defaults: DPMSolverSinglestepConfig = {
    ...SolverScheduler.defaults, solver_order: 2, algorithm_type: 'dpmsolver++', solver_type: 'midpoint', lower_order_final: false,
    final_sigmas_type: 'zero', lambda_min_clipped: -Infinity, variance_type: null, use_dynamic_shifting: false,
    time_shift_type: 'exponential',
  };
  static override readonly choices = {
    ...SolverScheduler.choices, algorithm_type: ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver++'], solver_type: ['midpoint', 'heun'],
  };
  static override readonly synonyms = solverSynonyms;
  protected override readonly takes = ['timesteps'] as const;
  /** The sample that the current group of steps began from. */
  private readonly origin = this.remember(1);
  private orders: number[] = [];

  constructor(options: Partial<DPMSolverSinglestepConfig> = {}) {
    super(options);
    const { algorithm_type: algorithm, final_sigmas_type: final } = this.settings;
    if (algorithm === 'dpmsolver' && final === 'zero') {
      throw new RangeError(`${this.name} final_sigmas_type: got 'zero' with algorithm_type 'dpmsolver', takes 'sigma_min'`);
    }
  }

  protected override plan(steps: Steps, options: TimestepsOptions): void {
    super.plan(steps, options);
    const { solver_order: order, lower_order_final, final_sigmas_type } = this.settings;
    const count = this.numInferenceSteps;
    this.orders = Array.from({ length: count }, (_, i) => i % order + 1);
    if (!lower_order_final && final_sigmas_type !== 'zero' && count % order === 0) return;
    if (count % order === 0 && order > 1) this.orders[count - 1] = 1; // the last group would end with the full order
    if (final_sigmas_type === 'zero') this.orders[count - 1] = 1;
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const { algorithm_type: algorithm } = this.settings;
    const index = this.indexAt(timestep);
    const level = this.level(index);
    const ofOriginal = algorithm.endsWith('++');
    this.outputs.push(ofOriginal ? this.toOriginal(modelOutput, sample, level) : this.toNoise(modelOutput, sample, level));
    const order = Math.min(this.orders[index], this.outputs.length);
    if (order === 1) this.origin.push(sample);
    const weights = solverWeights(algorithm, this.level(index + 1 - order), this.level(index + 1));
    const noise: Term[] = algorithm.startsWith('sde') ? [[weights.noise, this.drawNoise(sample, options)]] : [];
    return { prevSample: weightedSum([weights.sample, this.origin.at(0)], ...this.outputTerms(index, order, weights), ...noise) };
  }

  /** The weights of the group's outputs, newest first, that make the derivatives at its beginning. */
  private outputTerms(index: number, order: number, { h, output, midpoint, first, second }: ReturnType<typeof solverWeights>): Term[] {
    const isMidpoint = this.settings.solver_type === 'midpoint';
    const [m0, m1, m2] = [0, 1, 2].map(age => this.outputs.at(age));
    if (order === 1) return [[output, m0]];
    const share = (age: number) => (this.level(index - age).lambda - this.level(index + 1 - order).lambda) / h;
    if (order === 2) {
      const slope = (isMidpoint ? midpoint : first) / share(0);
      return [[slope, m0], [output - slope, m1]];
    }
    const [r0, r1] = [share(0), share(1)];
    const slope0 = (isMidpoint ? first : (2 * second - first * r1) / (r0 - r1)) / r0;
    const slope1 = (isMidpoint ? 0 : (first * r0 - 2 * second) / (r0 - r1)) / r1;
    return [[slope0, m0], [slope1, m1], [output - slope0 - slope1, m2]];
  }
}
