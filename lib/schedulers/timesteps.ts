/** Which of the training steps an inference run visits, with NumPy's rounding. */

export const timestepSpacings = ['linspace', 'leading', 'trailing'] as const;
export type TimestepSpacing = typeof timestepSpacings[number];

export interface SpacingConfig {
  /** Steps that the model was trained with. */
  num_train_timesteps: number;
  /** How the steps are spread over the training steps: `leading`, `linspace` or `trailing`. */
  timestep_spacing: TimestepSpacing;
  /** Added to the timesteps of the `leading` spacing. */
  steps_offset: number;
}

/**
 * `count` timesteps in falling order, whole numbers except for `linspace` (arXiv:2305.08891, table 2).
 * - `last`: begin before this one instead of at num_train_timesteps.
 * - `extra`: space out so many more, and leave them off at the end.
 */
export function spacedTimesteps(config: SpacingConfig, count: number, { last = config.num_train_timesteps, extra = 0 } = {}): number[] {
  const { timestep_spacing: spacing, num_train_timesteps: trained, steps_offset: offset } = config;
  if (spacing === 'trailing') return fallingFrom(last, trained / count).map(t => roundHalfToEven(t) - 1);
  const points = count + extra;
  const ratio = Math.floor(last / points);
  const rising = spacing === 'linspace' ? linspace(0, last - 1, points) : linspace(0, points - 1, points).map(i => i * ratio + offset);
  return rising.reverse().slice(0, count);
}

/** numpy.linspace in float64. */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) => i === 0 ? start : i === count - 1 ? stop : i * step + start);
}

/** numpy.round: halves go to the even neighbour. */
export function roundHalfToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** numpy.arange(start, 0, -step), which takes the rounded difference of its first two values for the step. */
function fallingFrom(start: number, step: number): number[] {
  const difference = (start - step) - start;
  return Array.from({ length: Math.ceil(-start / -step) }, (_, i) => start + i * difference);
}
