import { show } from '../core/checks.js';

/** What a key of a scheduler's config takes besides the kind of its default: the same wherever it is. */
interface Limit {
  readonly takes: string;
  readonly fits: (value: unknown) => boolean;
}

const number = (takes: string, fits: (value: number) => boolean): Limit => (
  { takes, fits: value => typeof value === 'number' && Number.isFinite(value) && fits(value) }
);
const whole = (least: number): Limit => number(`a whole number, ${least} or more`, value => Number.isInteger(value) && value >= least);
/** May be null, as where a default is. */
const optional = ({ takes, fits }: Limit): Limit => ({ takes, fits: value => value === null || fits(value) });

const ABOVE_0 = number('a number above 0', value => value > 0);
const VARIANCES = ['learned', 'learned_range', 'fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log'];

const LIMITS: Readonly<Record<string, Limit>> = {
  steps_offset: whole(0), original_inference_steps: whole(1), base_image_seq_len: whole(1), max_image_seq_len: whole(1),
  dynamic_thresholding_ratio: number('a number from 0 to 1', value => value >= 0 && value <= 1),
  sample_max_value: ABOVE_0, clip_sample_range: ABOVE_0, flow_shift: ABOVE_0, timestep_scaling: ABOVE_0,
  rho: number('a number, 1 or more', value => value >= 1),
  lambda_min_clipped: { takes: 'a number up to 10, or null for none', fits: value => value === null || (value as number) <= 10 },
  sigma_min: optional(ABOVE_0), sigma_max: optional(ABOVE_0),
  shift_terminal: optional(number('a number from 0 on, below 1, or null', value => value >= 0 && value < 1)),
  variance_type: { takes: `null or one of ${VARIANCES.join(', ')}`, fits: value => value === null || VARIANCES.includes(value as string) },
  disable_corrector: { takes: 'a list of steps', fits: value => Array.isArray(value) && value.every(whole(0).fits) },
};

/** @throws RangeError for a value that its key does not take. */
export function checkLimits(name: string, config: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(config)) {
    if (!Object.hasOwn(LIMITS, key) || value === undefined) continue;
    const { takes, fits } = LIMITS[key];
    if (!fits(value)) throw new RangeError(`${name} ${key}: got ${show(value)}, takes ${takes}`);
  }
}
