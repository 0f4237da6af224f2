import * as tf from '@tensorflow/tfjs';

/** Makes a tensor of a value that is kept elsewhere than on the device. The tensor is the caller's, each time another. */
export type TensorSource = () => tf.Tensor;

const parkings = new Map<string, (x: tf.Tensor) => Promise<TensorSource>>();

/** Gives a tfjs backend its own way to keep values in host memory. */
export function registerParking(backend: string, park: (x: tf.Tensor) => Promise<TensorSource>): void {
  parkings.set(backend, park);
}

/** Copies a tensor's values to host memory, from where they can come back. The tensor stays as it is. */
export async function park(x: tf.Tensor): Promise<TensorSource> {
  return (parkings.get(tf.getBackend()) ?? parkAnywhere)(x);
}

/** As `park`, in float32 and without help of the backend. */
export async function parkAnywhere(x: tf.Tensor): Promise<TensorSource> {
  const values = await x.data();
  const { shape, dtype } = x;
  return () => tf.tensor(values, shape, dtype);
}
