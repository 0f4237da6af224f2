import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import type { Block } from '../../lib/core/block.js';
import type { Golden } from './golden.js';

/** Gives `block` the golden's torch weights below `prefix`, every one exactly once; by tf.transpose, not by the library's own layouts. */
export function setTorchWeights(block: Block, { tensors }: Golden, prefix: string): void {
  const specs = block.parameterSpecs();
  const keys = Object.keys(tensors).filter(key => key.startsWith(prefix));
  assert.deepEqual(keys.map(key => key.slice(prefix.length)).sort(), [...specs.keys()].sort());
  for (const key of keys) {
    const path = key.slice(prefix.length);
    const { layout, shape } = specs.get(path)!;
    const { data, shape: torchShape } = tensors[key];
    block.setParameter(path, tf.tidy(() => {
      const value = tf.tensor(Float32Array.from(data), [...torchShape]);
      if (layout === 'plain') return value;
      return layout === 'conv' ? tf.transpose(value, [2, 3, 1, 0]) : tf.reshape(tf.transpose(value), [...shape]);
    }));
  }
}

/** An array of a golden file as a tensor. */
export function goldenTensor({ tensors }: Golden, name: string): tf.Tensor {
  const { data, shape } = tensors[name];
  return data instanceof Int32Array ? tf.tensor(data, [...shape], 'int32') : tf.tensor(Float32Array.from(data), [...shape]);
}
