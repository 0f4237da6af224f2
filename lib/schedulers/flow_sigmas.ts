/** The noise levels of models of flows, as shares of the whole. */

/** `sigma` with more of the steps at its noisy end, for a `shift` above 1. */
export function shifted(sigma: number, shift: number): number {
  return shift * sigma / (1 + (shift - 1) * sigma);
}

/** Falling sigmas, stretched away from 1 so that they end at `terminal`. */
export function stretched(sigmas: readonly number[], terminal: number): number[] {
  const stretch = (1 - terminal) / (1 - sigmas[sigmas.length - 1]);
  return sigmas.map(sigma => 1 - (1 - sigma) * stretch);
}
