import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';
import type { FloatDtype } from './float16.js';
import { dequantize, type QuantizedMatrix } from './quantized.js';
import type { StoredValue } from './stored_value.js';

/** A backend's own way to make the tensor of a quantized weight, in a number type if it has that. */
export const wideners = new BackendAbility<(matrix: QuantizedMatrix, dtype: FloatDtype) => tf.Tensor>();

/** A weight in fewer bits in host memory, which is widened while its layer runs. */
export class StoredQuantized implements StoredValue {
  readonly forTheMoment = true;

  /** @param dtype what it is computed in, where the backend has that type. */
  constructor(readonly matrix: QuantizedMatrix, readonly dtype: FloatDtype) {}

  read(): tf.Tensor {
    return wideners.current?.(this.matrix, this.dtype) ?? tf.tensor(dequantize(this.matrix), [...this.matrix.shape]);
  }
}
