import { show } from '../core/checks.js';
import type { SchedulerClass } from './scheduler.js';
import { knownRules } from './scheduler_config.js';

/** Every scheduler class by its name in configs. */
export const schedulerClasses = knownRules as Record<string, SchedulerClass>;

/** @throws RangeError if there is no such scheduler, with a list of those there are. */
export function schedulerClass(name: string): SchedulerClass {
  if (!Object.hasOwn(schedulerClasses, name)) {
    throw new RangeError(`scheduler: got ${show(name)}, takes ${Object.keys(schedulerClasses).join(', ')}`);
  }
  return schedulerClasses[name];
}
