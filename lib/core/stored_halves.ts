import * as tf from '@tensorflow/tfjs';
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from './float16.js';
import { PackedTensor, packings, readByUnpacking, type HalfFormat } from './packed_tensor.js';
import { hasHalves } from './precision.js';
import type { StoredValue } from './stored_value.js';

/** Values as halves in host memory: for backends that have no such type, and compute them as float32. */
export class StoredHalves implements StoredValue {
  /** @param words two halves in each, the first in the lower bits. */
  constructor(private readonly words: Int32Array, private readonly shape: readonly number[], private readonly dtype: HalfFormat) {}

  /** Of float32 values, rounded to nearest. */
  static of(values: Float32Array, shape: readonly number[], dtype: HalfFormat): StoredHalves {
    const bits = dtype === 'float16' ? encodeFloat16(values) : encodeBfloat16(values);
    return StoredHalves.ofBytes(new Uint8Array(bits.buffer), shape, dtype);
  }

  /** Of halves, which are copied. */
  static ofBytes(bytes: Uint8Array, shape: readonly number[], dtype: HalfFormat): StoredHalves {
    const words = new Int32Array(Math.ceil(bytes.length / 4));
    new Uint8Array(words.buffer).set(bytes);
    return new StoredHalves(words, shape, dtype);
  }

  /** What is used packed stays so; what is not is small beside it. */
  get forTheMoment(): boolean {
    return !hasHalves() && !packings.current;
  }

  read(): tf.Tensor {
    return readByUnpacking(() => this.pack()) ?? this.decode();
  }

  pack(): PackedTensor {
    return new PackedTensor(this.dtype, this.dtype, this.shape, tf.tensor1d(this.words, 'int32'));
  }

  private decode(): tf.Tensor {
    const bits = new Uint16Array(this.words.buffer, this.words.byteOffset, tf.util.sizeFromShape([...this.shape]));
    return tf.tensor((this.dtype === 'float16' ? decodeFloat16 : decodeBfloat16)(bits), [...this.shape]);
  }
}
