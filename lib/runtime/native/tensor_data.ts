import type { Values } from './binding.js';

export type Shape = readonly number[];

/** One of TensorFlow's tensors that was made of another. */
export interface View {
  readonly id: number;
  readonly shape: Shape;
  readonly dtype: number;
}

/**
 * What lies behind tensors of tfjs: one of TensorFlow's, or values that it does not have yet. It is its own data id, so that nothing is
 * looked up. Several tensors share it, in several shapes; it lies in one of them.
 */
export class TensorData {
  /** Itself in other shapes and types, made when they were needed. */
  readonly views: View[] = [];
  /** The recording that saw the views being made: for another they are made anew. */
  viewsFor?: object;

  /** What TensorFlow does not have yet. */
  values: Values | null = null;
  /** How many tensors of tfjs it has. */
  refCount = 1;

  constructor(public shape: number[] = [], public dtype = 0, public id = -1) {}

  /** Takes values, which become TensorFlow's when they are needed. */
  hold(shape: number[], dtype: number, values: Values, refCount: number): void {
    this.shape = shape;
    this.dtype = dtype;
    this.values = values;
    this.refCount = refCount;
  }

  /** Whether it is here and not on another backend. */
  get isHere(): boolean {
    return this.refCount > 0;
  }
}

export function same(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let axis = 0; axis < a.length; axis++) if (a[axis] !== b[axis]) return false;
  return true;
}
