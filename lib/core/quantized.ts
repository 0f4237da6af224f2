/** Weights in fewer bits: whole numbers with a scale, and perhaps a minimum, for each group of them. One form for all backends and files. */

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
   * Row by row, columns fastest: int8 each, in two's complement; or of 4 bits 0 to 15, two in a byte, the first in the lower half.
   * So four, or eight, columns side by side are a little-endian word of 32 bits.
   */
  readonly values: Int8Array | Uint8Array;
  /** `[ceil(depth / groupSize), columns]` */
  readonly scales: Float32Array;
  /** As the scales; 0 by default. */
  readonly minimums?: Float32Array;
}

/** A shape as a matrix. */
export function matrixOf(shape: readonly number[]): { depth: number; columns: number } {
  const columns = shape.at(-1)!;
  return { depth: shape.slice(0, -1).reduce((product, size) => product * size, 1), columns };
}
