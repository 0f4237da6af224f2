import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';
import { encodeFloat16, type FloatDtype } from './float16.js';
import { PackedTensor, readByUnpacking } from './packed_tensor.js';
import { dequantize, matrixOf, type QuantizedMatrix } from './quantized.js';
import type { StoredValue } from './stored_value.js';

/** A backend's own way to make the tensor of a quantized weight, in a number type if it has that. */
export const wideners = new BackendAbility<(matrix: QuantizedMatrix, dtype: FloatDtype) => tf.Tensor>();

/** A weight in fewer bits in host memory, which is widened while its layer runs, or in its kernel. */
export class StoredQuantized implements StoredValue {
  readonly forTheMoment = true;

  /** @param dtype what it is computed in, where the backend has that type. */
  constructor(readonly matrix: QuantizedMatrix, readonly dtype: FloatDtype) {}

  get numBytes(): number {
    const { values, scales, minimums } = this.matrix;
    return values.byteLength + scales.byteLength + (minimums?.byteLength ?? 0);
  }

  read(): tf.Tensor {
    return wideners.current?.(this.matrix, this.dtype) ?? readByUnpacking(() => this.pack())
      ?? tf.tensor(dequantize(this.matrix), [...this.matrix.shape]);
  }

  pack(): PackedTensor {
    const { bits, shape, groupSize, values, scales, minimums, halfScales } = this.matrix;
    const { depth, columns } = matrixOf(shape);
    const ofGroups = (numbers: Float32Array) => halfScales ? tf.tensor1d(new Int32Array(encodeFloat16(numbers).buffer), 'int32')
      : tf.tensor2d(numbers, [Math.ceil(depth / groupSize), columns]);
    const aligned = values.byteOffset % 4 === 0 ? values : values.slice();
    const words = tf.tensor1d(new Int32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4), 'int32');
    return new PackedTensor(bits === 8 ? 'int8' : 'uint4', this.dtype, shape, words, {
      size: groupSize, scales: ofGroups(scales), minimums: minimums && ofGroups(minimums),
    });
  }
}
