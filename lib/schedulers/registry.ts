import { show } from '../core/checks.js';
import type { Scheduler } from './scheduler.js';
import type { ConfigRules } from './scheduler_config.js';

/** What every scheduler class has besides its instances. */
export interface SchedulerClass<S extends Scheduler = Scheduler> extends ConfigRules {
  new (options?: object): S;
  readonly className: string;
  /** Whether it is one of those that take each other's configs. */
  readonly interchangeable: boolean;
  /** Whether it takes the configs of those, though they do not take it for one of them. */
  readonly adopts: boolean;
  fromConfig(config: object, overrides?: object): S;
}

/** Every scheduler class by its name in configs. Filled by index.ts: the base class, which needs it, cannot import its heirs. */
export const schedulerClasses: Record<string, SchedulerClass> = {};

/** @throws RangeError if there is no such scheduler, with a list of those there are. */
export function schedulerClass(name: string): SchedulerClass {
  if (!Object.hasOwn(schedulerClasses, name)) {
    throw new RangeError(`scheduler: got ${show(name)}, takes ${Object.keys(schedulerClasses).join(', ')}`);
  }
  return schedulerClasses[name];
}
