/** Weights in fewer bits: whole numbers with a scale, and perhaps a minimum, for each group of them. One form for all backends. */

/**
 * A weight of `bits` bits, seen as a matrix `[depth, columns]`: columns are its outputs, the last axis, depth is all others.
 * Each is `scale * number + minimum`, of its column and of its group of rows.
 */
export interface QuantizedMatrix {
  readonly bits: 4 | 8;
  /** Ours: linear `[in, out]`, conv `[height, width, in, out]`. Outputs are a multiple of 8 for 4 bits, of 4 for 8. */
  readonly shape: readonly number[];
  /** How many rows have a scale together: depth for one of each column; the last group may have fewer. */
  readonly groupSize: number;
  /**
   * Row by row, columns fastest: int8 each, in two's complement; or 0 to 15, which stand for -8 to 7 where there are no minimums, two in
   * a byte, the first in the lower half. So four, or eight, columns side by side are a little-endian word of 32 bits.
   */
  readonly values: Int8Array | Uint8Array;
  /** `[ceil(depth / groupSize), columns]` */
  readonly scales: Float32Array;
  readonly minimums?: Float32Array;
  /** Whether scales and minimums are float16, and lose nothing by it. */
  readonly halfScales?: boolean;
}

/** The number that stands for zero where there are no minimums. */
export function zeroOf(bits: 4 | 8): number {
  return bits === 4 ? 8 : 0;
}

/** A shape as a matrix. */
export function matrixOf(shape: readonly number[]): { depth: number; columns: number } {
  const columns = shape.at(-1)!;
  return { depth: shape.slice(0, -1).reduce((product, size) => product * size, 1), columns };
}

/** As float32, in our layout. */
export function dequantize(matrix: QuantizedMatrix): Float32Array {
  const { depth, columns } = matrixOf(matrix.shape);
  const { bits, groupSize, scales, minimums, values } = matrix;
  const out = new Float32Array(depth * columns);
  const widen = bits === 8 ? widenBytes : widenNibbles;
  for (let row = 0; row < depth; row += groupSize) {
    const [begin, end] = [row * columns, Math.min(depth, row + groupSize) * columns];
    const group = Math.floor(row / groupSize) * columns;
    const [scale, minimum] = [scales, minimums].map(each => each?.subarray(group, group + columns));
    widen(values, out, begin, end, scale!, minimum ?? scale!.map(value => -zeroOf(bits) * value));
  }
  return out;
}

function widenBytes(
  values: ArrayLike<number>, out: Float32Array, begin: number, end: number, scales: Float32Array, minimums: Float32Array,
): void {
  const columns = scales.length;
  for (let i = begin; i < end; i += columns) {
    for (let column = 0; column < columns; column++) out[i + column] = values[i + column] * scales[column] + minimums[column];
  }
}

function widenNibbles(
  values: ArrayLike<number>, out: Float32Array, begin: number, end: number, scales: Float32Array, minimums: Float32Array,
): void {
  const columns = scales.length;
  for (let i = begin; i < end; i += columns) {
    for (let column = 0; column < columns; column += 2) {
      const byte = values[(i + column) >> 1];
      out[i + column] = (byte & 15) * scales[column] + minimums[column];
      out[i + column + 1] = (byte >> 4) * scales[column + 1] + minimums[column + 1];
    }
  }
}

/** Numbers of 0 to 15, two in a byte, the first in the lower half. */
export function packNibbles(numbers: Uint8Array): Uint8Array {
  const packed = new Uint8Array(numbers.length / 2);
  for (let i = 0; i < packed.length; i++) packed[i] = numbers[2 * i] | numbers[2 * i + 1] << 4;
  return packed;
}

/** What `packNibbles` packed. */
export function unpackNibbles(packed: Uint8Array): Uint8Array {
  const numbers = new Uint8Array(2 * packed.length);
  for (let i = 0; i < packed.length; i++) {
    numbers[2 * i] = packed[i] & 15;
    numbers[2 * i + 1] = packed[i] >> 4;
  }
  return numbers;
}

/** Of how many outputs a weight's number has to be a multiple, so that words hold whole numbers of columns. */
export function columnsOfWord(bits: 4 | 8): number {
  return 32 / bits;
}
