import { show } from '../../core/checks.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { DenoisingSteps } from '../run/denoise.js';

/** Which part of the noise to take away, as shares of all of it: one model begins where another ended. */
export interface DenoisingRange {
  denoisingStart?: number;
  denoisingEnd?: number;
}

/** @throws RangeError unless it begins between 0 and 1, and ends after that. */
export function checkDenoisingRange({ denoisingStart, denoisingEnd }: DenoisingRange): void {
  if (denoisingEnd !== undefined && !(denoisingEnd > 0 && denoisingEnd <= 1)) {
    throw new RangeError(`denoisingEnd: got ${show(denoisingEnd)}, takes a number above 0 and up to 1`);
  }
  if (denoisingStart === undefined) return;
  if (!(denoisingStart > 0 && denoisingStart < 1)) {
    throw new RangeError(`denoisingStart: got ${show(denoisingStart)}, takes a number between 0 and 1`);
  }
  if (denoisingEnd !== undefined && denoisingStart >= denoisingEnd) {
    throw new RangeError(`denoisingStart: got ${denoisingStart}, takes less than denoisingEnd, which is ${denoisingEnd}`);
  }
}

/** The timesteps from there on; the scheduler's run begins there. @throws RangeError if none is left. */
export function timestepsFrom(scheduler: Scheduler, denoisingStart: number): number[] {
  const { timesteps, order } = scheduler;
  const cutoff = trainedTimestep(scheduler, denoisingStart);
  const below = timesteps.filter(timestep => timestep < cutoff).length;
  const left = order === 2 && below % 2 === 0 ? below + 1 : below; // no step is begun at its second half
  if (left === 0) throw new RangeError(`denoisingStart: got ${denoisingStart}, which leaves none of ${timesteps.length} steps, takes less`);
  scheduler.setBeginIndex(timesteps.length - left);
  return timesteps.slice(-left);
}

/** Those of `timesteps` until there, and how many there were. */
export function timestepsUntil(scheduler: Scheduler, timesteps: readonly number[], denoisingEnd = 1): DenoisingSteps {
  const wholeSteps = timesteps.length;
  if (denoisingEnd === 1) return { timesteps, wholeSteps };
  const cutoff = trainedTimestep(scheduler, denoisingEnd);
  const [firstTimestep] = timesteps;
  return { timesteps: timesteps.slice(0, timesteps.filter(timestep => timestep >= cutoff).length), wholeSteps, firstTimestep };
}

/** Of those that models are trained on, the one at which such a share of the noise is gone. */
function trainedTimestep({ config: { num_train_timesteps: count } }: Scheduler, share: number): number {
  return Math.round(count - share * count);
}
