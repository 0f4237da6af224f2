import { decodeFloat16, encodeFloat16 } from '../lib/core/float16.js';
import type { ParameterSpec } from '../lib/core/parameter.js';
import { columnsOfWord, matrixOf, packHalves, type QuantizedMatrix } from '../lib/core/quantized.js';

/** How many rows have a scale together in 4 bits. */
const GROUP = 32;

/** Smaller weights stay floats: together they are hardly anything, and the first and the last layer, which are most sensitive, are such. */
const MIN_SIZE = 16384;

/** How many rows have a scale together in so many bits: in 8 all of a column. */
export function groupSizeOf(bits: 4 | 8, shape: readonly number[]): number {
  const { depth } = matrixOf(shape);
  return bits === 8 ? depth : Math.min(GROUP, depth);
}

/** Whether a weight can be in so many bits, and is large enough that it pays. */
export function isQuantizable({ shape, layout }: ParameterSpec, bits: 4 | 8): boolean {
  if (layout === 'plain') return false;
  const { depth, columns } = matrixOf(shape);
  return columns % columnsOfWord(bits) === 0 && depth * columns >= MIN_SIZE;
}

/**
 * A weight in fewer bits, each number rounded to the nearest.
 * In 8 bits the largest of each column is 127 or -127; in 4 bits the least of each group is 0 and the largest 15, with scales and minimums
 * as float16 has them.
 * @throws RangeError for a value that is infinite or no number, or in 4 bits beyond float16.
 */
export function quantize(name: string, values: Float32Array, shape: readonly number[], bits: 4 | 8): QuantizedMatrix {
  const bad = values.findIndex(value => !Number.isFinite(value));
  if (bad >= 0) throw new RangeError(`${name}: its value ${values[bad]} cannot be had in ${bits} bits; use float16 or float32`);
  const matrix = bits === 8 ? quantizeTo8(values, shape) : quantizeTo4(values, shape);
  if (matrix.scales.every(Number.isFinite) && (matrix.minimums?.every(Number.isFinite) ?? true)) return matrix;
  throw new RangeError(`${name}: its values are beyond float16, in which scales are kept; use int8, bfloat16 or float32`);
}

function quantizeTo8(values: Float32Array, shape: readonly number[]): QuantizedMatrix {
  const { columns } = matrixOf(shape);
  const scales = new Float32Array(columns);
  for (let i = 0; i < values.length; i += columns) {
    for (let column = 0; column < columns; column++) scales[column] = Math.max(scales[column], Math.abs(values[i + column]));
  }
  for (let column = 0; column < columns; column++) scales[column] /= 127;
  const numbers = new Int8Array(values.length);
  for (let i = 0; i < values.length; i += columns) {
    for (let column = 0; column < columns; column++) {
      const scale = scales[column];
      numbers[i + column] = scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(values[i + column] / scale)));
    }
  }
  return { bits: 8, shape, groupSize: groupSizeOf(8, shape), values: numbers, scales };
}

function quantizeTo4(values: Float32Array, shape: readonly number[]): QuantizedMatrix {
  const { depth, columns } = matrixOf(shape);
  const groupSize = groupSizeOf(4, shape);
  const groups = Math.ceil(depth / groupSize);
  const least = new Float32Array(groups * columns).fill(Infinity);
  const largest = new Float32Array(groups * columns).fill(-Infinity);
  const perGroup = groupSize * columns;
  for (let i = 0; i < values.length; i += columns) {
    const group = Math.floor(i / perGroup) * columns;
    for (let column = 0; column < columns; column++) {
      const value = values[i + column];
      if (value < least[group + column]) least[group + column] = value;
      if (value > largest[group + column]) largest[group + column] = value;
    }
  }
  const minimums = asHalves(least);
  const scales = asHalves(largest.map((value, i) => (value - minimums[i]) / 15));
  const numbers = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i += columns) {
    const group = Math.floor(i / perGroup) * columns;
    for (let column = 0; column < columns; column++) {
      const scale = scales[group + column];
      if (scale > 0) numbers[i + column] = Math.max(0, Math.min(15, Math.round((values[i + column] - minimums[group + column]) / scale)));
    }
  }
  return { bits: 4, shape, groupSize, values: packHalves(numbers), scales, minimums };
}

function asHalves(values: Float32Array): Float32Array {
  return decodeFloat16(encodeFloat16(values));
}
