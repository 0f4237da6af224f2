import type * as tf from '@tensorflow/tfjs';
import type { FloatDtype } from '../../core/float16.js';
import { matrixOf, zeroOf, type QuantizedMatrix } from '../../core/quantized.js';
import { FLOAT_TYPES, TF, type Metadata } from './binding.js';
import type { NativeBackend } from './native_backend.js';
import type { Scope } from './scope.js';

/** Makes tensors of quantized weights by TensorFlow's ops, of bytes that stay JavaScript's. Products are float32, and rounded once. */
export function nativeWidener(backend: NativeBackend): (matrix: QuantizedMatrix, dtype: FloatDtype) => tf.Tensor {
  return (matrix, dtype) => backend.compute(scope => {
    const { depth, columns } = matrixOf(matrix.shape);
    const whole = Math.floor(depth / matrix.groupSize) * matrix.groupSize; // the last group may be shorter
    const parts = [widenRows(scope, matrix, 0, whole), widenRows(scope, matrix, whole, depth)].filter(part => part !== undefined);
    const wide = parts.length === 1 ? parts[0] : scope.concat(parts.map(part => scope.reshape(part, [-1, columns])), 0);
    return scope.cast(scope.reshape(wide, matrix.shape), FLOAT_TYPES[dtype]);
  });
}

/** Rows `begin` to `end`, which are whole groups or one: `[groups, rows, columns]`. */
function widenRows(scope: Scope, matrix: QuantizedMatrix, begin: number, end: number): Metadata | undefined {
  if (begin === end) return undefined;
  const { bits, groupSize, values, scales, minimums } = matrix;
  const { columns } = matrixOf(matrix.shape);
  const rows = Math.min(groupSize, end - begin);
  const groups = (end - begin) / rows;
  const perRow = columns * bits / 8;
  const bytes = new Uint8Array(values.buffer, values.byteOffset + begin * perRow, (end - begin) * perRow);
  const first = begin / groupSize * columns;
  const ofGroups = (x: Float32Array) => scope.upload([groups, 1, columns], TF.FLOAT, x.subarray(first, first + groups * columns));
  const numbers = bits === 8 ? scope.bitcast(scope.upload([groups, rows, columns], TF.UINT8, bytes), TF.INT8)
    : scope.reshape(unpack(scope, scope.upload([bytes.length], TF.UINT8, bytes)), [groups, rows, columns]);
  const wide = scope.cast(numbers, TF.FLOAT);
  if (minimums) return scope.op('AddV2', scope.op('Mul', wide, ofGroups(scales)), ofGroups(minimums));
  const zero = zeroOf(bits);
  return scope.op('Mul', zero ? scope.op('Sub', wide, scope.number(zero)) : wide, ofGroups(scales));
}

/** Two numbers of each byte, the lower half first: `[n]` -> `[n, 2]`. Both halves of 16 bits get the byte, and are masked together. */
function unpack(scope: Scope, packed: Metadata): Metadata {
  const int16 = (value: number) => scope.cast(scope.upload([], TF.INT32, Int32Array.of(value)), TF.INT16);
  const wide = scope.cast(packed, TF.INT16);
  const both = scope.op('BitwiseOr', wide, scope.op('LeftShift', wide, int16(4)));
  return scope.bitcast(scope.op('BitwiseAnd', both, int16(0x0f0f)), TF.UINT8);
}
