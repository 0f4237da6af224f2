import type { Level } from './solver_scheduler.js';

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
