import * as tf from '@tensorflow/tfjs';
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from './float16.js';
import { hasHalves } from './precision.js';
import type { StoredValue } from './stored_value.js';

/** Values as halves in host memory, rounded to nearest: for backends that have no such type, and compute them as float32. */
export class StoredHalves implements StoredValue {
  private readonly bits: Uint16Array;

  constructor(values: Float32Array, private readonly shape: readonly number[], private readonly dtype: 'float16' | 'bfloat16') {
    this.bits = dtype === 'float16' ? encodeFloat16(values) : encodeBfloat16(values);
  }

  get forTheMoment(): boolean {
    return !hasHalves();
  }

  read(): tf.Tensor {
    return tf.tensor((this.dtype === 'float16' ? decodeFloat16 : decodeBfloat16)(this.bits), [...this.shape]);
  }
}
