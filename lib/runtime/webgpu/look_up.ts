import * as tf from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';

/** Values that are in host memory; undefined of a tensor that is on the device. */
function valuesOnHost({ dataId }: tf.Tensor): tf.TypedArray | undefined {
  return (tf.backend() as WebGPUBackend).tensorMap.get(dataId).values as tf.TypedArray | undefined ?? undefined;
}

/**
 * Rows of a table that is in host memory still, as it is loaded: so it need not come to the device, where CLIP's of 145 MiB is more than
 * many can bind. Undefined for a table or indices that are on the device.
 */
export function lookUpOnHost(table: tf.Tensor, indices: tf.Tensor): tf.Tensor | undefined {
  const [values, rows] = [valuesOnHost(table), valuesOnHost(indices)];
  if (!values || !rows) return undefined;
  const features = table.shape[1]!;
  const found = new Float32Array(indices.size * features); // zeros for a row that is not there, as on the device
  rows.forEach((row, i) => found.set(values.subarray(row * features, (row + 1) * features), i * features));
  return tf.tensor(found, [...indices.shape, features]);
}

/** A table with more rows, in host memory too; undefined where one of both is on the device. */
export function appendOnHost(table: tf.Tensor, rows: tf.Tensor): tf.Tensor | undefined {
  const [values, more] = [valuesOnHost(table), valuesOnHost(rows)];
  if (!values || !more) return undefined;
  const all = new Float32Array(table.size + rows.size);
  all.set(values);
  all.set(more, table.size);
  return tf.tensor(all, [table.shape[0] + rows.shape[0], table.shape[1]!]);
}
