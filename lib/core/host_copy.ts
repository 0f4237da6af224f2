import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';

/** Makes a tensor of a value that is kept elsewhere than on the device. The tensor is the caller's, each time another. */
export type TensorSource = () => tf.Tensor;

/** A backend's own way to copy a tensor's values to host memory. */
export const hostCopies = new BackendAbility<(x: tf.Tensor) => Promise<TensorSource>>();

/** Copies a tensor's values to host memory, from where they can come back. The tensor stays as it is. */
export async function copyToHost(x: tf.Tensor): Promise<TensorSource> {
  return (hostCopies.current ?? copyValues)(x);
}

/** As `copyToHost`, in float32 and without help of the backend. */
export async function copyValues(x: tf.Tensor): Promise<TensorSource> {
  const values = await x.data();
  const { shape, dtype } = x;
  return () => tf.tensor(values, shape, dtype);
}
