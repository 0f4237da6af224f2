import { show } from '../core/checks.js';

/** How much noise there is at each training step: betas and what follows from them, in float32 where diffusers has float32. */

export const betaSchedules = ['linear', 'scaled_linear', 'squaredcos_cap_v2', 'exp', 'laplace', 'sigmoid'] as const;

export interface NoiseScheduleConfig {
  /** Steps that the model was trained with. */
  num_train_timesteps: number;
  /** Variance of the noise that the first training step adds. */
  beta_start: number;
  /** Variance of the noise that the last training step adds. */
  beta_end: number;
  /** How it grows between the two; `scaled_linear` is Stable Diffusion's. */
  beta_schedule: typeof betaSchedules[number];
  /** Betas to use as they are; beta_start, beta_end and beta_schedule then mean nothing. */
  trained_betas: readonly number[] | null;
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr?: boolean;
}

export const noiseScheduleDefaults: NoiseScheduleConfig = {
  num_train_timesteps: 1000, beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'linear', trained_betas: null,
};

const { fround } = Math;

/**
 * The share of the clean sample's variance that is left at each training step: `[num_train_timesteps]`, falling.
 * @throws RangeError for numbers that make no schedule, as `trained_betas` that are not as many as `num_train_timesteps`.
 */
export function alphasCumprodOf(config: NoiseScheduleConfig): Float32Array {
  const { num_train_timesteps: count, trained_betas: trained } = config;
  if (trained && !(Array.isArray(trained) && trained.every(Number.isFinite))) {
    throw new RangeError(`trained_betas: got ${show(trained)}, takes a list of numbers`);
  }
  if (trained && trained.length !== count) {
    throw new RangeError(`trained_betas: got ${trained.length}, takes as many as num_train_timesteps, ${count}`);
  }
  const betas = trained ? Float32Array.from(trained) : betasOf(config);
  const alphas = cumulativeProduct((config.rescale_betas_zero_snr ? rescaleZeroTerminalSnr(betas) : betas).map(beta => 1 - beta));
  if (!alphas.every(Number.isFinite)) {
    throw new RangeError(`betas: from ${config.beta_start} to ${config.beta_end} (beta_start, beta_end) make no schedule`);
  }
  return alphas;
}

function betasOf(config: NoiseScheduleConfig): Float32Array {
  const { num_train_timesteps: count, beta_start: start, beta_end: end } = config;
  switch (config.beta_schedule) {
    case 'linear':
      return linspace32(start, end, count);
    case 'scaled_linear':
      return linspace32(Math.sqrt(start), Math.sqrt(end), count).map(root => root * root);
    case 'sigmoid':
      return linspace32(-6, 6, count).map(x => fround(fround(1 / (1 + Math.exp(-x))) * fround(end - start)) + fround(start));
    case 'squaredcos_cap_v2':
      return betasForAlphaBar(t => Math.cos((t + 0.008) / 1.008 * Math.PI / 2) ** 2, count);
    case 'exp':
      return betasForAlphaBar(t => Math.exp(-12 * t), count);
    case 'laplace':
      return betasForAlphaBar(t => {
        const side = t > 0.5 ? -1 : 1;
        const snr = Math.exp(-0.5 * side * Math.log(1 - 2 * Math.abs(0.5 - t) + 1e-6));
        return Math.sqrt(snr / (1 + snr));
      }, count);
  }
}

/** torch.linspace in float32: from both ends to the middle, with fused multiply-add. */
export function linspace32(start: number, end: number, count: number): Float32Array {
  const [first, last] = [fround(start), fround(end)];
  const step = count > 1 ? fround(fround(last - first) / (count - 1)) : 0;
  const half = Math.max(Math.floor(count / 2), 1);
  return Float32Array.from({ length: count }, (_, i) => i < half ? first + step * i : last - step * (count - 1 - i));
}

/** Betas whose cumulative product follows `alphaBar`, a function of time from 0 to 1. */
function betasForAlphaBar(alphaBar: (t: number) => number, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999));
}

/** torch.cumprod: accumulated in float64, stored in float32. */
function cumulativeProduct(values: Float32Array): Float32Array {
  let product = 1;
  return values.map(value => product *= value);
}

/** Shifts and scales the schedule so that nothing is left of the sample at its end (arXiv:2305.08891, algorithm 1). */
function rescaleZeroTerminalSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProduct(betas.map(beta => 1 - beta)).map(Math.sqrt);
  const [first, last] = [roots[0], roots[roots.length - 1]];
  const scale = fround(first / fround(first - last));
  const alphaBars = roots.map(root => fround(root - last) * scale).map(root => root * root);
  return alphaBars.map((bar, i) => 1 - (i === 0 ? bar : fround(bar / alphaBars[i - 1])));
}
