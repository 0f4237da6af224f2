import type * as tf from '@tensorflow/tfjs';
import { copyValues } from '../../core/host_copy.js';
import type { StoredValue } from '../../core/stored_value.js';
import { makeTensor, Ops, TF, type NativeBackend } from './backend.js';
import { isHalf } from './half.js';

/**
 * Halves stay halves in host memory: as integers of two each, for the binding reads no halves. An odd number of them is widened.
 * Values come back through an op, whose result lies on the GPU alone: what JavaScript hands over would stay in host memory beside it.
 */
export function nativeHostCopy(backend: NativeBackend): (x: tf.Tensor) => Promise<StoredValue> {
  const { binding, tensorMap } = backend;
  const ops = new Ops(backend);
  return async x => {
    const { shape, size } = x;
    const record = tensorMap.has(x.dataId) ? tensorMap.get(x.dataId) : undefined; // it may still be on another backend
    if (!record) return copyValues(x);
    if (!isHalf(record.dtype) || size % 2 === 1) {
      const values = await x.data<'float32'>();
      return {
        read: () => ops.using(binding.createTensor(shape, TF.FLOAT, values), id =>
          makeTensor(backend, { id: ops.reshape(id, TF.FLOAT, shape), shape, dtype: TF.FLOAT })),
      };
    }
    const { id, dtype } = record;
    const values = ops.using(ops.reshape(id, dtype, [size / 2, 2]), pairs =>
      ops.using(ops.bitcast(pairs, dtype, TF.INT32), ints => binding.tensorDataSync(ints) as unknown as Int32Array));
    return {
      read: () => ops.using(binding.createTensor([size / 2], TF.INT32, values), ints =>
        ops.using(ops.bitcast(ints, TF.INT32, dtype), pairs => makeTensor(backend, { id: ops.reshape(pairs, dtype, shape), shape, dtype }))),
    };
  };
}
