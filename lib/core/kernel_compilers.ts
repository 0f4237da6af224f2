import { BackendAbility } from './backend_ability.js';

/**
 * Of a backend whose kernels are compiled when they first run, which makes a thread wait: compiles those that `work` runs on other threads.
 * `work` does all that it would, but that nothing is computed, so what it makes holds anything.
 */
export const kernelCompilers = new BackendAbility<(work: () => void) => Promise<void>>();
