import { BackendAbility } from './backend_ability.js';

/** Of a backend whose ops run while JavaScript goes on. */
export interface RunningAhead {
  /** Whether they do. Where each runs within its call, its time is that of the call. */
  set(ahead: boolean): void;
  /** Waits for those that are under way, and forgets what went wrong in one: after work that failed, so that no other hears of it. */
  forgetErrors(): void;
}

export const runningAhead = new BackendAbility<RunningAhead>();
