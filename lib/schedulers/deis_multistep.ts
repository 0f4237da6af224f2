import * as tf from '@tensorflow/tfjs';
import { solverWeights } from './dpm_solver.js';
import { SolverScheduler, type SolverConfig } from './solver_scheduler.js';
import type { TimestepSpacing } from './timesteps.js';
import type { StepOutput } from './types.js';
import { weightedSum, type Term } from './weighted_sum.js';

export interface DEISMultistepConfig extends SolverConfig {
  /** How many predictions a step combines; 2 is recommended with guidance, 3 without. */
  solver_order: number;
  /** Which of the formulas to solve by; names with `sde` add noise at each step. */
  algorithm_type: 'deis';
  /** Which form of the second order to take. */
  solver_type: 'logrho';
  /** How the steps are spread over the training steps: `leading`, `linspace` or `trailing`. */
  timestep_spacing: TimestepSpacing;
  /** What is added to each step where they are spaced `leading`; 1 for Stable Diffusion. */
  steps_offset: number;
}

/**
 * Diffusion exponential integrator of orders 1 to 3 (arXiv:2204.13902): the noise of the last steps, interpolated by a polynomial in
 * log(sigma / alpha) and integrated over the next.
 * Equals DEISMultistepScheduler of diffusers.
 */
export class DEISMultistepScheduler extends SolverScheduler<DEISMultistepConfig> {
  static override readonly className = 'DEISMultistepScheduler';
  static override readonly defaults: DEISMultistepConfig = {
    ...SolverScheduler.defaults, solver_order: 2, algorithm_type: 'deis', solver_type: 'logrho', timestep_spacing: 'linspace',
    steps_offset: 0, use_dynamic_shifting: false, time_shift_type: 'exponential',
  };
  static override readonly choices = { ...SolverScheduler.choices, algorithm_type: ['deis'], solver_type: ['logrho'] };
  static override readonly synonyms = {
    algorithm_type: { dpmsolver: 'deis', 'dpmsolver++': 'deis' },
    solver_type: { midpoint: 'logrho', heun: 'logrho', bh1: 'logrho', bh2: 'logrho' },
  };

  protected override lastSigma(smallest: number): number {
    return smallest;
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): StepOutput {
    const index = this.indexAt(timestep);
    const [from, to] = [this.level(index), this.level(index + 1)];
    this.outputs.push(this.toNoise(modelOutput, sample, from));
    const order = this.orderAt(index);
    if (order === 1) {
      const weights = solverWeights('dpmsolver', from, to);
      return { prevSample: weightedSum([weights.sample, sample], [weights.output, this.outputs.at(0)]) };
    }
    const logs = Array.from({ length: order }, (_, age) => -this.level(index - age).lambda);
    const weights = logs.map((_, age) => integral(-to.lambda, logs, age) - integral(logs[0], logs, age));
    const terms = weights.map((weight, age): Term => [to.alpha * weight, this.outputs.at(age)]);
    return { prevSample: weightedSum([to.alpha / from.alpha, sample], ...terms) };
  }

  private orderAt(index: number): number {
    const left = this.timesteps.length - index;
    const lowers = this.settings.lower_order_final && this.timesteps.length < 15;
    return Math.min(this.settings.solver_order, this.outputs.length, lowers ? left : 3);
  }
}

/**
 * The indefinite integral over rho, at log(rho) = x, of the polynomial in log(rho) that is 1 at `points[chosen]` and 0 at the others,
 * of which there are one or two.
 */
function integral(x: number, points: number[], chosen: number): number {
  const others = points.filter((_, i) => i !== chosen);
  const scale = Math.exp(x) / others.reduce((product, other) => product * (points[chosen] - other), 1);
  if (others.length === 1) return scale * (x - others[0] - 1);
  return scale * ((x - others[0]) * (x - others[1]) - (2 * x - others[0] - others[1]) + 2);
}
