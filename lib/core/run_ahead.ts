import { BackendAbility } from './backend_ability.js';

/** Of a backend whose ops run while JavaScript goes on: whether they do. Where each runs within its call, its time is that of the call. */
export const runAhead = new BackendAbility<(ahead: boolean) => void>();
