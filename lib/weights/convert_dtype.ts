import { bytesOf } from '../core/bytes_of.js';
import { encodeBfloat16, encodeFloat16, type FloatDtype } from '../core/float16.js';
import { decodeTensor, type Dtype } from './safetensors.js';

/** What files call the types that networks compute in. */
export const FLOATS_IN_FILES = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const satisfies Record<FloatDtype, Dtype>;

/**
 * Converts little-endian floats of any dtype, rounding to the nearest, ties to even, as torch does.
 * @param name what the error calls the tensor.
 * @throws RangeError if a finite value would become infinite.
 */
export function convertDtype(name: string, bytes: Uint8Array, from: Dtype, to: Dtype): Uint8Array {
  if (from === to) return bytes;
  const decoded = decodeTensor(from, bytes);
  const values = decoded instanceof Float32Array ? decoded : Float32Array.from(decoded);
  if (to === 'F32') return bytesOf(values);
  const words = to === 'F16' ? encodeFloat16(values) : encodeBfloat16(values);
  const infinity = to === 'F16' ? 0x7c00 : 0x7f80;
  const overflow = words.findIndex((word, i) => (word & 0x7fff) === infinity && Number.isFinite(values[i]));
  if (overflow >= 0) {
    const help = to === 'F16' ? 'float16; use bfloat16 or float32' : 'bfloat16; use float32';
    throw new RangeError(`${name}: its value ${values[overflow]} is beyond ${help}`);
  }
  return new Uint8Array(words.buffer);
}
