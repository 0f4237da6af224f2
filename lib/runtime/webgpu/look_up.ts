import * as tf from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';

/**
 * Rows of a table that is in host memory still, as it is loaded: so it need not come to the device, where CLIP's of 145 MiB is more than
 * many can bind. Undefined for a table or indices that are on the device.
 */
export function lookUpOnHost(table: tf.Tensor, indices: tf.Tensor): tf.Tensor | undefined {
  const [values, rows] = [table, indices].map(({ dataId }) => (tf.backend() as WebGPUBackend).tensorMap.get(dataId).values);
  if (!(values instanceof Float32Array) || !rows) return undefined;
  const [count, features] = table.shape;
  const found = new Float32Array(indices.size * features!);
  Array.from(rows as Int32Array).forEach((row, i) => {
    if (row >= 0 && row < count) found.set(values.subarray(row * features!, (row + 1) * features!), i * features!); // else zeros, as on the device
  });
  return tf.tensor(found, [...indices.shape, features!]);
}
