import * as tf from '@tensorflow/tfjs';

/** [start, count] pairs that cover `size` in steps of `step`. */
export function range(size: number, step: number): Array<[number, number]> {
  return Array.from({ length: Math.ceil(size / step) }, (_, i) => [i * step, Math.min(step, size - i * step)]);
}

/** A slice that costs nothing where it is the whole. */
export function slice(x: tf.Tensor, begin: number[], size: number[]): tf.Tensor {
  return size.every((length, axis) => length === x.shape[axis]) ? x : tf.slice(x, begin, size);
}

/** Joins what may be one part alone. */
export function concat(parts: tf.Tensor[], axis: number): tf.Tensor {
  return parts.length === 1 ? parts[0] : tf.concat(parts, axis);
}
