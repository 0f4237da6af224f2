import * as tf from '@tensorflow/tfjs';

/** Tensors that outlive the step that made them: the newest few. */
export class History {
  private tensors: tf.Tensor[] = [];

  constructor(private readonly size: number) {}

  get length(): number {
    return this.tensors.length;
  }

  /** Remembers `tensor`, whatever becomes of the caller's handle, and forgets the oldest beyond the size. */
  push(tensor: tf.Tensor): void {
    this.tensors.unshift(tf.keep(tensor.clone()));
    if (this.tensors.length > this.size) this.tensors.pop()!.dispose();
  }

  /** The tensor `age` pushes ago: 0 is the newest. */
  at(age: number): tf.Tensor {
    return this.tensors[age];
  }

  clear(): void {
    this.tensors.forEach(tensor => tensor.dispose());
    this.tensors = [];
  }
}
