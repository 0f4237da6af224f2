import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';
import type { StoredValue } from './stored_value.js';

/** A backend's own way to copy a tensor's values to host memory. */
export const hostCopies = new BackendAbility<(x: tf.Tensor) => Promise<StoredValue>>();

/** Copies a tensor's values to host memory, from where they can come back. The tensor stays as it is. */
export async function copyToHost(x: tf.Tensor): Promise<StoredValue> {
  return (hostCopies.current ?? copyValues)(x);
}

/** As `copyToHost`, in float32 and without help of the backend. */
export async function copyValues(x: tf.Tensor): Promise<StoredValue> {
  return storeOnHost(await x.data<'float32'>(), x.shape);
}

/** Values that are in host memory already. */
export function storeOnHost(values: Float32Array, shape: readonly number[]): StoredValue {
  return { read: () => tf.tensor(values, [...shape]) };
}
