import type * as tf from '@tensorflow/tfjs';
import { copyValues } from '../../core/host_copy.js';
import type { StoredValue } from '../../core/stored_value.js';
import { isHalf, TF } from './binding.js';
import type { NativeBackend } from './native_backend.js';
import { Scope } from './scope.js';

/**
 * Halves stay halves in host memory: as integers of two each, for the binding reads no halves. An odd number of them is widened.
 * Values come back through an op, whose result lies on the GPU alone: what JavaScript hands over would stay in host memory beside it.
 */
export function nativeHostCopy(backend: NativeBackend): (x: tf.Tensor) => Promise<StoredValue> {
  const { context } = backend;
  return async x => {
    const { shape, size } = x;
    if (backend.refCount(x.dataId) === 0) return copyValues(x); // it is still on another backend
    const { dtype } = backend.dataOf(x.dataId);
    if (!isHalf(dtype) || size % 2 === 1) {
      const values = await x.data<'float32'>();
      return { read: () => backend.compute(scope => scope.reshape(scope.upload(shape, TF.FLOAT, values), shape)) };
    }
    const ints = Scope.run(context, scope => scope.bitcast(scope.reshape(backend.lendAsItLies(x), [size / 2, 2]), TF.INT32));
    const values = context.read(ints.id) as Int32Array;
    context.free(ints.id);
    return { read: () => backend.compute(scope => scope.reshape(scope.bitcast(scope.upload([size / 2], TF.INT32, values), dtype), shape)) };
  };
}
