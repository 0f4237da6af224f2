import { BackendAbility } from './backend_ability.js';

/** Of a backend that keeps the memory of freed tensors for new ones of the same sizes: gives it back, as the next network has others. */
export const spareMemory = new BackendAbility<() => void>();
