import * as tf from '@tensorflow/tfjs';
import { checkShape, show } from './checks.js';

/** @throws TypeError for what is no tensor, or one that was disposed; RangeError unless its shape fits, where null stands for any size. */
export function checkTensor(name: string, value: unknown, shape: ReadonlyArray<number | null>): tf.Tensor {
  if (!(value instanceof tf.Tensor)) throw new TypeError(`${name}: got ${show(value)}, takes a tensor`);
  if (value.isDisposed) throw new TypeError(`${name}: got a tensor that was disposed, takes one that is there`);
  checkShape(name, value.shape, shape);
  return value;
}
