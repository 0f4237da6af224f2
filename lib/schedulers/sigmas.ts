import { linspace } from './timesteps.js';

/** Noise levels as sigma = noise / signal: the table over the training steps, and other ways than timesteps to space them. */

/** Which of these, if any, spaces the sigmas; at most one of the first three. */
export interface RespacingConfig {
  /** Whether noise levels are spaced as by Karras et al. (arXiv:2206.00364): more of them near the end. */
  use_karras_sigmas?: boolean | null;
  /** Whether noise levels are spaced evenly in their logarithm. */
  use_exponential_sigmas?: boolean | null;
  /** Whether noise levels are spaced by the beta distribution (arXiv:2407.12173). */
  use_beta_sigmas?: boolean | null;
  /** Whether noise levels are evenly spaced in log-SNR, as in Lu's solver. */
  use_lu_lambdas?: boolean | null;
  /** Ends of the spacing; by default those of the schedule. */
  sigma_min?: number | null;
  /** The greatest noise level. */
  sigma_max?: number | null;
}

export const respacingDefaults = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false } as const;

/** Sigma at each training step, rising: `[num_train_timesteps]`. With zero terminal SNR the last is large instead of infinite. */
export function sigmaTable(alphasCumprod: Float32Array): Float32Array {
  return alphasCumprod.map(alpha => alpha || 2 ** -24).map(alpha => Math.sqrt(Math.fround(Math.fround(1 - alpha) / alpha)));
}

/** Sigma at any time between the training steps. */
export function sigmaAt(table: Float32Array, timestep: number): number {
  const low = Math.min(Math.max(Math.floor(timestep), 0), table.length - 1);
  const high = Math.min(low + 1, table.length - 1);
  return table[low] + (table[high] - table[low]) * Math.min(Math.max(timestep - low, 0), 1);
}

/** The time between the training steps at which `sigma` falls, on a logarithmic scale. */
export function timestepAt(table: Float32Array, sigma: number): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  const above = table.findIndex(value => Math.fround(Math.log(value)) > logSigma);
  const low = Math.min(Math.max((above < 0 ? table.length : above) - 1, 0), table.length - 2);
  const [logLow, logHigh] = [Math.fround(Math.log(table[low])), Math.fround(Math.log(table[low + 1]))];
  const share = Math.min(Math.max((logLow - logSigma) / (logLow - logHigh), 0), 1);
  return (1 - share) * low + share * (low + 1);
}

/** Whether the config spaces the sigmas, so that timesteps follow from them. */
export function respaces(config: RespacingConfig): boolean {
  return Boolean(config.use_karras_sigmas || config.use_exponential_sigmas || config.use_beta_sigmas || config.use_lu_lambdas);
}

/** `count` falling sigmas as the config spaces them, or null if it leaves that to the timesteps. `max` and `min` are the schedule's. */
export function respacedSigmas(config: RespacingConfig, max: number, min: number, count: number): number[] | null {
  const [first, last] = [config.sigma_max ?? max, config.sigma_min ?? min];
  if (config.use_karras_sigmas) { // arXiv:2206.00364, with rho = 7
    const [firstRoot, lastRoot] = [first ** (1 / 7), last ** (1 / 7)];
    return linspace(0, 1, count).map(share => (firstRoot + share * (lastRoot - firstRoot)) ** 7);
  }
  if (config.use_lu_lambdas) { // arXiv:2206.00927: even steps of the logarithm, of the schedule itself
    const [firstLog, lastLog] = [Math.fround(Math.log(max)), Math.fround(Math.log(min))];
    return linspace(0, 1, count).map(share => Math.exp(firstLog + share * (lastLog - firstLog)));
  }
  if (config.use_exponential_sigmas) return linspace(Math.log(first), Math.log(last), count).map(Math.exp);
  if (config.use_beta_sigmas) { // arXiv:2407.12173
    return linspace(0, 1, count).map(share => last + betaQuantile(1 - share) * (first - last));
  }
  return null;
}

/** Where the distribution Beta(0.6, 0.6) has `share` of its mass below: scipy.stats.beta.ppf(share, 0.6, 0.6). */
function betaQuantile(share: number): number {
  if (share > 0.5) return 1 - betaQuantile(1 - share);
  const mass = share * 2 * betaMass(0.5);
  let [low, high] = [0, 0.5];
  for (let i = 0; i < 64; i++) {
    const middle = (low + high) / 2;
    if (betaMass(middle) < mass) low = middle;
    else high = middle;
  }
  return high;
}

/** The integral of (u (1 - u))^-0.4 from 0 to x <= 0.5, by the series of (1 - u)^-0.4. */
function betaMass(x: number): number {
  let [sum, term] = [0, x ** 0.6];
  for (let n = 0; n < 60; n++) {
    sum += term / (n + 0.6);
    term *= x * (n + 0.4) / (n + 1);
  }
  return sum;
}
