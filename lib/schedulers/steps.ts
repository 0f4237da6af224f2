import { checkInteger, show } from '../core/checks.js';

/** How to choose the timesteps: their number, or a list of them or of sigmas where the scheduler takes such lists. */
export type Steps = number | { timesteps: readonly number[] } | { sigmas: readonly number[] };

/** Further options of `setTimesteps`, for some schedulers. */
export interface TimestepsOptions {
  /** LCM and TCD: the steps that the model was distilled for. */
  originalInferenceSteps?: number;
  /** LCM and TCD: the share of the schedule to run, from its end. */
  strength?: number;
  /** Solvers with flow sigmas and `use_dynamic_shifting`: the shift's logarithm. */
  mu?: number;
}

/** What `setTimesteps` of a scheduler takes besides a number. */
export type StepLists = ReadonlyArray<'timesteps' | 'sigmas'>;

/**
 * The number of steps, or of the list's entries.
 * @throws RangeError for a number below 1 or above `trained`, a list that is not among `takes`, or one that does not fall.
 */
export function countSteps(name: string, steps: Steps, takes: StepLists, trained: number): number {
  if (typeof steps !== 'object') return checkInteger(`${name} numInferenceSteps`, steps, 1, trained);
  const [[kind, list]] = Object.entries(steps) as Array<[StepLists[number], readonly number[]]>;
  if (!takes.includes(kind)) throw new RangeError(`${name}: got a list of ${kind}, takes ${['a number', ...takes].join(', ')}`);
  if (!Array.isArray(list) || list.length === 0 || list.some((value, i) => !(value >= 0) || value > (list[i - 1] ?? Infinity))) {
    throw new RangeError(`${name} ${kind}: got ${show(list)}, takes numbers from 0, in falling order`);
  }
  return list.length;
}

/** The steps as a list of timesteps or sigmas, or null where they are something else. */
export function customList(steps: Steps, kind: 'timesteps' | 'sigmas'): number[] | null {
  const lists: { timesteps?: readonly number[]; sigmas?: readonly number[] } = typeof steps === 'object' ? steps : {};
  return lists[kind] ? [...lists[kind]] : null;
}
