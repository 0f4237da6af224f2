/** Conversion between float32 and the smaller floats, which JavaScript engines have no arrays for (or only the newest). */

/** The types of floating-point numbers that weights are used in. */
export const FLOAT_DTYPES = ['float32', 'float16', 'bfloat16'] as const;
/** One of FLOAT_DTYPES. */
export type FloatDtype = typeof FLOAT_DTYPES[number];

let halfValues: Float32Array | undefined;

/** All 65,536 float16 values, by their bits. */
function halfTable(): Float32Array {
  if (halfValues) return halfValues;
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    let value = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    if (exponent === 31) value = fraction ? NaN : Infinity;
    table[bits] = bits & 0x8000 ? -value : value;
  }
  return halfValues = table;
}

/** The value of a float16's bits. */
export function float16Value(bits: number): number {
  return halfTable()[bits];
}

/** float16 bits -> float32, exact. */
export function decodeFloat16(bits: Uint16Array): Float32Array {
  const table = halfTable();
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = table[bits[i]];
  return out;
}

/** bfloat16 bits -> float32, exact. */
export function decodeBfloat16(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = bits[i] << 16;
  return new Float32Array(out.buffer);
}

/** float8_e5m2 -> float32, exact: these are the upper halves of float16's bits. */
export function decodeFloat8E5M2(bits: Uint8Array): Float32Array {
  return decodeFloat16(Uint16Array.from(bits, byte => byte << 8));
}

/** float8_e4m3fn (torch's, without infinities) -> float32, exact. */
export function decodeFloat8E4M3(bits: Uint8Array): Float32Array {
  const table = Float32Array.from({ length: 256 }, (_, byte) => {
    const [exponent, fraction] = [(byte >> 3) & 15, byte & 7];
    const value = exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7);
    return (byte & 0x80 ? -1 : 1) * (exponent === 15 && fraction === 7 ? NaN : value);
  });
  return Float32Array.from(bits, byte => table[byte]);
}

/** float32 -> float16 bits, to the nearest, ties to even; beyond 65,504 (rounded) infinite, as torch's `.half()`. */
export function encodeFloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const sign = (words[i] >>> 16) & 0x8000;
    const magnitude = words[i] & 0x7fffffff;
    if (magnitude >= 0x47800000) { // 2^16 and more
      out[i] = sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
    } else if (magnitude < 0x38800000) { // below 2^-14: subnormal, in units of 2^-24
      out[i] = sign | roundHalfEven(Math.abs(values[i]) * 2 ** 24);
    } else { // a carry out of the fraction goes to the exponent, up to infinity
      out[i] = sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
    }
  }
  return out;
}

/** float32 -> bfloat16 bits, to the nearest, ties to even. */
export function encodeBfloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) {
    const word = words[i];
    out[i] = (word & 0x7fffffff) > 0x7f800000 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16; // a NaN stays one
  }
  return out;
}

/** `values` as the type can hold them, to the nearest, ties to even; the same array for float32. */
export function roundTo(dtype: FloatDtype, values: Float32Array): Float32Array {
  switch (dtype) {
    case 'float32': return values;
    case 'float16': return decodeFloat16(encodeFloat16(values));
    case 'bfloat16': return decodeBfloat16(encodeBfloat16(values));
  }
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
