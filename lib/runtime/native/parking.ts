import type * as tf from '@tensorflow/tfjs';
import { parkAnywhere, type TensorSource } from '../../core/offload.js';
import { makeTensor, Ops, TF, type NativeBackend } from './backend.js';
import { isHalf } from './half.js';

/** Keeps halves as halves in host memory too: as integers of two each, for the binding reads no halves. An odd number of them is widened. */
export function nativeParking(backend: NativeBackend): (x: tf.Tensor) => Promise<TensorSource> {
  const { binding, tensorMap } = backend;
  const ops = new Ops(backend);

  const using = <T>(id: number, use: (id: number) => T): T => {
    try {
      return use(id);
    } finally {
      binding.deleteTensor(id);
    }
  };
  return async x => {
    const { shape, size } = x;
    const record = tensorMap.has(x.dataId) ? tensorMap.get(x.dataId) : undefined; // it may still be on another backend
    if (!record || !isHalf(record.dtype) || size % 2 === 1) return parkAnywhere(x);
    const { id, dtype } = record;
    const values = using(ops.reshape(id, dtype, [size / 2, 2]), pairs =>
      using(ops.bitcast(pairs, dtype, TF.INT32), ints => binding.tensorDataSync(ints) as unknown as Int32Array));
    return () => using(binding.createTensor([size / 2], TF.INT32, values), ints =>
      using(ops.bitcast(ints, TF.INT32, dtype), pairs => makeTensor(backend, { id: ops.reshape(pairs, dtype, shape), shape, dtype })));
  };
}
