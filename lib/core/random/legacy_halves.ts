import { roundTo, type FloatDtype } from '../float16.js';
import type { Mt19937 } from './mt19937.js';

/** How torch made float16 and bfloat16 normals on a CPU before it rounded float32 ones: every value along the way is a half. */

const BLOCK = 16;
/** Bits of a half's fraction, and so of a uniform. */
const UNIFORM_BITS = { float16: 11, bfloat16: 8 };

type HalfDtype = Exclude<FloatDtype, 'float32'>;

/** `count` values of the standard normal distribution, as torch 2.11 draws them; fewer than 16 are as today's. */
export function drawLegacyHalves(stream: Mt19937, count: number, dtype: HalfDtype): Float32Array {
  if (count < BLOCK) return roundTo(dtype, stream.randn(count));
  const levels = 2 ** UNIFORM_BITS[dtype];
  const uniforms = (length: number) => Float32Array.from({ length }, () => stream.next() % levels / levels);
  const values = uniforms(count);
  for (let start = 0; start + BLOCK <= count; start += BLOCK) values.set(transform(values.subarray(start, start + BLOCK), dtype), start);
  if (count % BLOCK !== 0) values.set(transform(uniforms(BLOCK), dtype), count - BLOCK); // anew, over values that are done already
  return values;
}

/** Box-Muller in halves over one block: uniforms 0-7 give the radii, 8-15 the angles. */
function transform(uniforms: Float32Array, dtype: HalfDtype): Float32Array {
  const round = (values: Float32Array) => roundTo(dtype, values);
  const logs = round(uniforms.subarray(0, BLOCK / 2).map(u => Math.log(1 - u)));
  const radii = round(logs.map(log => Math.sqrt(-2 * log)));
  const angles = round(uniforms.subarray(BLOCK / 2).map(u => 2 * Math.PI * u));
  const [cosines, sines] = [Math.cos, Math.sin].map(wave => round(angles.map(wave)));
  return round(Float32Array.of(...radii.map((radius, i) => radius * cosines[i]), ...radii.map((radius, i) => radius * sines[i])));
}
