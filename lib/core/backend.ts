import * as tf from '@tensorflow/tfjs';

let startDefault: () => Promise<unknown> = () => tf.ready();

/** Says what to run on where nobody chose. lib/runtime knows, which nothing below the pipelines imports. */
export function setDefaultBackend(start: () => Promise<unknown>): void {
  startDefault = start;
}

/** Before the first tensor is made: starts the default backend unless one runs already. */
export async function ensureBackend(): Promise<void> {
  if (!tf.getBackend()) await startDefault();
}
