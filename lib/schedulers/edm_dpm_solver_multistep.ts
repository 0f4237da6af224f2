import type * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../core/checks.js';
import { multistepOrder, multistepTerms, solverSynonyms, solverWeights, type AlgorithmType, type MultistepConfig } from './dpm_solver.js';
import { EDMScheduler, type EDMConfig } from './edm_scheduler.js';
import { thresholdingDefaults, type ThresholdingConfig } from './limits.js';
import { linspace32 } from './noise_schedule.js';
import type { Level } from './solver_scheduler.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum, type Term } from './weighted_sum.js';

const { fround } = Math;

export interface EDMDPMSolverMultistepConfig extends EDMConfig, ThresholdingConfig, MultistepConfig {
  /** Which of the formulas to solve by; names with `sde` add noise at each step. */
  algorithm_type: Extract<AlgorithmType, `${string}++`>;
  /** Which form of the second order to take. */
  solver_type: 'midpoint' | 'heun';
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type: 'zero' | 'sigma_min';
}

/**
 * DPM-Solver++ of orders 1 to 3 (arXiv:2211.01095), from the outputs of earlier steps, for models with EDM's preconditioning.
 * Equals EDMDPMSolverMultistepScheduler of diffusers.
 */
export class EDMDPMSolverMultistepScheduler extends EDMScheduler<EDMDPMSolverMultistepConfig> {
  static override readonly className = 'EDMDPMSolverMultistepScheduler';
  static override readonly defaults: EDMDPMSolverMultistepConfig = {
    ...EDMScheduler.defaults, ...thresholdingDefaults, solver_order: 2, algorithm_type: 'dpmsolver++', solver_type: 'midpoint',
    lower_order_final: true, euler_at_final: false,
  };
  static override readonly choices = {
    ...EDMScheduler.choices, algorithm_type: ['dpmsolver++', 'sde-dpmsolver++'], solver_type: ['midpoint', 'heun'],
  };
  static override readonly synonyms = solverSynonyms;
  /** The originals that the model predicted in the last steps. */
  private readonly outputs = this.remember(checkInteger(`${this.name} solver_order`, this.settings.solver_order, 1, 3));

  constructor(options: Partial<EDMDPMSolverMultistepConfig> = {}) {
    super(options);
    const { algorithm_type: algorithm, solver_order: order } = this.settings;
    if (algorithm === 'sde-dpmsolver++' && order === 3) {
      throw new RangeError(`${this.name} solver_order: got 3 with algorithm_type '${algorithm}', takes 1, 2`);
    }
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput {
    const { algorithm_type: algorithm, solver_type } = this.settings;
    const index = this.indexAt(timestep);
    const level = this.level(index);
    this.outputs.push(this.limit(this.predictOriginal(modelOutput, sample, level.sigma)));
    const weights = solverWeights(algorithm, level, this.level(index + 1));
    const noise: Term[] = algorithm.startsWith('sde') ? [[weights.noise, this.drawNoise(sample, options)]] : [];
    const order = multistepOrder(this.settings, index, this.timesteps.length, this.outputs.length);
    const lambdas = [0, 1, 2].map(age => this.level(Math.max(index - age, 0)).lambda);
    const terms = multistepTerms(this.outputs, order, lambdas, solver_type, weights);
    return { prevSample: weightedSum([weights.sample, sample], ...terms, ...noise) };
  }

  /** In float32, as diffusers has them here. */
  protected override roots(first: number, last: number, count: number): number[] {
    return Array.from(linspace32(0, 1, count), share => fround(fround(first) + fround(share * fround(last - first))));
  }

  /** Only the model's input is scaled: the sample keeps all of the original. */
  private level(index: number): Level {
    const sigma = this.sigmas[index];
    return { alpha: 1, sigma, lambda: -Math.log(sigma) };
  }
}
