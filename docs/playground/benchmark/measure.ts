import { median } from '../../../benchmarks/median.js';
import type { Figure } from './report.js';

/** Something to measure, of one size. */
export interface Size {
  /** As figures call it. */
  readonly name: string;
  /** As in `Figure`. */
  readonly gflop?: number;
  readonly steps?: number;
  prepare(): Promise<Trial>;
}

/** It, ready to be run. */
export interface Trial {
  /** So many times, until the device has done it. */
  run(times: number): Promise<void>;
  dispose(): void;
}

/** How much may be spent. */
export interface Effort {
  /** Milliseconds for the runs of a size, about. */
  readonly budget: number;
  /** How many at most. */
  readonly runs: number;
  /** Whether to keep to the smallest size. */
  readonly smallest?: boolean;
}

export type Measured = Omit<Figure, 'part' | 'device'>;

/** Work of fewer milliseconds is done several times in a run: the time to read a value of a GPU would count as much. */
const SHORT = 100;
const MOST_TIMES = 50;

/** A trial of fewer milliseconds is made twice, for the first may have had to wait for something. */
const SURE = 500;

/** So often a size has to fit into the budget. */
const FEWEST = 3;

/**
 * Measures the largest size that a device does in time: begins with the smallest, and goes on to the next while that promises to fit.
 * A larger one that fails, as for memory, leaves the one before.
 * @param sizes smallest first.
 * @param tell what is done now.
 * @param clock gives milliseconds.
 */
export async function measure(
  sizes: readonly Size[], effort: Effort, tell: (text: string) => void, clock = () => performance.now(),
): Promise<Measured> {
  /** Milliseconds of one of so many times. */
  const timed = async (trial: Trial, times: number): Promise<number> => {
    const started = clock();
    await trial.run(times);
    return (clock() - started) / times;
  };
  const { budget, runs, smallest = false } = effort;
  let smaller: string | undefined;
  for (let i = 0; ; i++) {
    const size = sizes[i];
    const next = smallest ? undefined : sizes[i + 1];
    try {
      tell(`${size.name}, getting ready`);
      const trial = await size.prepare();
      try {
        if (i === 0) {
          const first = await timed(trial, 1); // in which kernels are compiled
          if (first > budget) return figureOf(size, [first], 'its first run took too long for another, kernels being compiled in it');
        }
        let once = await timed(trial, 1);
        if (once < SURE) once = Math.min(once, await timed(trial, 1));
        const share = next ? work(next) / work(size) : 0;
        if (next && !smaller && once * share * FEWEST <= budget) continue;
        if (next && !smaller) smaller = `${next.name} would take ${seconds(once * share)} each time`;
        const times = Math.min(MOST_TIMES, Math.max(1, Math.ceil(SHORT / once)));
        const milliseconds: number[] = [];
        const started = clock();
        do {
          tell(`${size.name}, run ${milliseconds.length + 1} of ${runs}`);
          milliseconds.push(await timed(trial, times));
        } while (milliseconds.length < runs && clock() - started + milliseconds.at(-1)! * times <= budget);
        return figureOf(size, milliseconds, smaller);
      } finally {
        trial.dispose();
      }
    } catch (error) {
      if (i === 0 || smaller) throw error;
      smaller = `${size.name}: ${(error as Error).message}`;
      i -= 2; // and one comes on top
    }
  }
}

function figureOf({ name, gflop, steps }: Size, milliseconds: number[], smaller?: string): Measured {
  return { size: name, ...smaller && { smaller }, milliseconds, median: median(milliseconds), ...gflop && { gflop }, ...steps && { steps } };
}

function work({ gflop, steps }: Size): number {
  return gflop ?? steps!;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`;
}
