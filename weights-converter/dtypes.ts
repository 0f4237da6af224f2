import { bytesOf } from '../lib/core/bytes_of.js';
import { checkOneOf } from '../lib/core/checks.js';
import { encodeBfloat16, encodeFloat16 } from '../lib/core/float16.js';
import { decodeTensor, type Dtype } from '../lib/weights/safetensors.js';

/** What weights can be converted to, by torch's names. */
export type FloatName = 'float32' | 'float16' | 'bfloat16';

const dtypes: Record<FloatName, Dtype> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** Or to so many bits. */
const bits = { int8: 8, int4: 4 } as const;

/** What weights become: all of a float type; or those that can be of so many bits, and the others float16. Undefined: what they are. */
export type Encoding = { readonly dtype: Dtype } | { readonly bits: 4 | 8 } | undefined;

/** What the weights of a network of that class become. @throws RangeError for a name that is none. */
export function encodings(name?: FloatName | keyof typeof bits): (className: string) => Encoding {
  if (name === undefined) return () => undefined;
  checkOneOf('dtype', name, [...Object.keys(dtypes), ...Object.keys(bits)]);
  if (name !== 'int8' && name !== 'int4') return () => ({ dtype: dtypes[name] });
  return className => /^(UNet|ControlNet)/.test(className) ? { bits: bits[name] } : { dtype: 'F16' };
}

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
