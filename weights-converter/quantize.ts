import { decodeFloat16, encodeFloat16 } from '../lib/core/float16.js';
import type { ParameterSpec } from '../lib/core/parameter.js';
import { columnsOfWord, matrixOf, packNibbles, zeroOf, type QuantizedMatrix } from '../lib/core/quantized.js';

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
 * In 8 bits the largest of each column is 127 or -127; in 4 bits each group has the scale, of float16, by which it errs least.
 * @throws RangeError for a value that is infinite or no number, or in 4 bits beyond float16.
 */
export function quantize(name: string, values: Float32Array, shape: readonly number[], bits: 4 | 8): QuantizedMatrix {
  const bad = values.findIndex(value => !Number.isFinite(value));
  if (bad >= 0) throw new RangeError(`${name}: its value ${values[bad]} cannot be had in ${bits} bits; use float16 or float32`);
  const matrix = bits === 8 ? quantizeTo8(values, shape) : quantizeTo4(values, shape);
  if (matrix.scales.every(Number.isFinite)) return matrix;
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

/** Parts of the scale that has the largest number of a group just in reach: a smaller one cuts that off, and is finer for the others. */
const PARTS = [0.8, 0.84, 0.88, 0.92, 0.96, 1, 1.04];

function quantizeTo4(values: Float32Array, shape: readonly number[]): QuantizedMatrix {
  const { depth, columns } = matrixOf(shape);
  const groupSize = groupSizeOf(4, shape);
  const scales = new Float32Array(Math.ceil(depth / groupSize) * columns);
  const numbers = new Uint8Array(values.length);
  for (let first = 0; first < depth; first += groupSize) {
    const [begin, end] = [first * columns, Math.min(depth, first + groupSize) * columns];
    const rows = values.subarray(begin, end);
    const best = bestScales(rows, columns);
    scales.set(best, first / groupSize * columns);
    for (let i = 0; i < rows.length; i += columns) {
      for (let column = 0; column < columns; column++) numbers[begin + i + column] = nearest(rows[i + column], best[column]) + zeroOf(4);
    }
  }
  return { bits: 4, shape, groupSize, values: packNibbles(numbers), scales, halfScales: true };
}

/** Of each column the scale by which its squared errors are least together. The largest becomes -8, which has no counterpart. */
function bestScales(rows: Float32Array, columns: number): Float32Array {
  const largest = new Float32Array(columns);
  for (let i = 0; i < rows.length; i += columns) {
    for (let column = 0; column < columns; column++) {
      if (Math.abs(rows[i + column]) > Math.abs(largest[column])) largest[column] = rows[i + column];
    }
  }
  const best = asHalves(largest.map(value => value / -8));
  const least = new Float32Array(columns).fill(Infinity);
  for (const part of PARTS) {
    const scales = asHalves(largest.map(value => part * value / -8));
    const errors = squaredErrors(rows, scales);
    for (let column = 0; column < columns; column++) {
      if (errors[column] < least[column]) {
        least[column] = errors[column];
        best[column] = scales[column];
      }
    }
  }
  return best;
}

/** Of each column, how far its values are from what numbers of such a scale can be. */
function squaredErrors(rows: Float32Array, scales: Float32Array): Float32Array {
  const columns = scales.length;
  const errors = new Float32Array(columns);
  for (let i = 0; i < rows.length; i += columns) {
    for (let column = 0; column < columns; column++) {
      const value = rows[i + column];
      const scale = scales[column];
      const error = nearest(value, scale) * scale - value;
      errors[column] += error * error;
    }
  }
  return errors;
}

/** The number of -8 to 7 that stands for a value best. */
function nearest(value: number, scale: number): number {
  if (scale === 0) return 0;
  const number = Math.floor(value / scale + 0.5);
  return number < -8 ? -8 : number > 7 ? 7 : number;
}

function asHalves(values: Float32Array): Float32Array {
  return decodeFloat16(encodeFloat16(values));
}
