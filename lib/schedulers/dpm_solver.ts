import type { History } from './history.js';
import type { Level } from './solver_scheduler.js';
import type { Term } from './weighted_sum.js';

/** `++`: integrates the predicted original instead of the noise; `sde`: with fresh noise at every step. */
export const algorithmTypes = ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'] as const;
export type AlgorithmType = typeof algorithmTypes[number];

/** Names that configs of relatives have for what a DPM-Solver calls otherwise. */
export const solverSynonyms = {
  algorithm_type: { deis: 'dpmsolver++' },
  solver_type: { logrho: 'midpoint', bh1: 'midpoint', bh2: 'midpoint' },
} as const;

/**
 * What a DPM-Solver step from one noise level to another weighs (arXiv:2206.00927, arXiv:2211.01095): the sample, the model's
 * output at the first level, its first and second derivative, and fresh noise. `midpoint` is the other choice for `first`.
 */
export function solverWeights(algorithm: AlgorithmType, from: Level, to: Level) {
  const ofOriginal = algorithm.endsWith('++');
  const stochastic = algorithm.startsWith('sde');
  const h = to.lambda - from.lambda;
  const z = ofOriginal ? (stochastic ? -2 * h : -h) : h;
  const scale = ofOriginal ? to.alpha : (stochastic ? 2 : 1) * to.sigma;
  const phi = Math.expm1(z);
  const half = ofOriginal && stochastic ? -0.5 : 0.5; // the sign is diffusers'
  return {
    h,
    sample: ofOriginal ? to.sigma / from.sigma * (stochastic ? Math.exp(-h) : 1) : to.alpha / from.alpha,
    output: -scale * phi,
    midpoint: -scale * phi / 2,
    first: -scale * (phi / z - 1),
    second: -scale * ((phi - z) / z ** 2 - half),
    noise: stochastic ? to.sigma * Math.sqrt(ofOriginal ? -Math.expm1(-2 * h) : Math.expm1(2 * h)) : 0,
  };
}

/** What the number of a multistep solver's steps and their end say of the orders. */
export interface MultistepConfig {
  /** How many predictions a step combines; 2 is recommended with guidance, 3 without. */
  solver_order: number;
  /** Uses lower orders in the last two of fewer than 15 steps. */
  lower_order_final: boolean;
  /** Takes the last step with order 1. */
  euler_at_final: boolean;
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type?: 'zero' | 'sigma_min';
}

/** The order of the step at `index` of so many, where as many outputs are `known`. */
export function multistepOrder(config: MultistepConfig, index: number, steps: number, known: number): number {
  const { euler_at_final, lower_order_final, final_sigmas_type, solver_order } = config;
  const left = steps - index;
  const lowers = lower_order_final && steps < 15;
  if (left === 1 && (euler_at_final || lowers || final_sigmas_type === 'zero')) return 1;
  return Math.min(solver_order, known, left === 2 && lowers ? 2 : 3);
}

/**
 * The weights of the last outputs, as many as the order, that make the derivatives at a step.
 * @param lambdas of the step and the two before.
 */
export function multistepTerms(
  outputs: History, order: number, lambdas: readonly number[], solverType: 'midpoint' | 'heun',
  { h, output, midpoint, first, second }: ReturnType<typeof solverWeights>,
): Term[] {
  const [m0, m1, m2] = [0, 1, 2].map(age => outputs.at(age));
  if (order === 1) return [[output, m0]];
  const r0 = (lambdas[0] - lambdas[1]) / h;
  if (order === 2) {
    const slope = (solverType === 'midpoint' ? midpoint : first) / r0;
    return [[output + slope, m0], [-slope, m1]];
  }
  const r1 = (lambdas[1] - lambdas[2]) / h;
  const bend = (first * r0 + second) / (r0 + r1);
  const slope = (first + bend) / r0;
  return [[output + slope, m0], [-slope - bend / r1, m1], [bend / r1, m2]];
}
