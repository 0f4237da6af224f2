import * as tf from '@tensorflow/tfjs';

/** Makes tensors for a `describe` block, and disposes of them after each of its tests. */
export function disposedZeros(): (...shape: number[]) => tf.Tensor {
  const tensors: tf.Tensor[] = [];
  afterEach(() => tf.dispose(tensors.splice(0)));
  return (...shape) => {
    const made = tf.zeros(shape);
    tensors.push(made);
    return made;
  };
}
