import type { HalfFormat, PackedFormat } from '../../core/packed_tensor.js';
import type { Kernel } from './program.js';

/** How a kernel is told how a weight lies: as float32, or packed. */
export interface WeightKind {
  readonly format: 'float32' | PackedFormat;
  /** Of whole numbers: whether there are minimums. */
  readonly lifted: boolean;
  /** Of whole numbers: whether scales and minimums are float16, two in a word. */
  readonly halfScales: boolean;
}

/** Values in a word of 32 bits. */
const PER_WORD: Readonly<Record<PackedFormat, number>> = { float16: 2, bfloat16: 2, int8: 4, uint4: 8 };

const isWhole = ({ format }: WeightKind) => format === 'int8' || format === 'uint4';

/** Names of the buffers that hold a weight, and of the numbers that go with them. */
export function weightInputs(kind: WeightKind): { inputs: string[]; numbers: string[] } {
  if (!isWhole(kind)) return { inputs: ['weight'], numbers: [] };
  return { inputs: ['weight', 'scales', ...kind.lifted ? ['minimums'] : []], numbers: ['groupSize'] };
}

/** How many elements of those buffers are read as one, where a kernel reads four columns at once. */
export function weightComponents(kind: WeightKind): Array<1 | 2 | 4> {
  const components = { float32: 4, float16: 2, bfloat16: 2, int8: 1, uint4: 1 } as const;
  return weightInputs(kind).inputs.map((_, i) => i === 0 ? components[kind.format] : kind.halfScales ? 2 : 4);
}

/** Four values from the `at`-th four on: as float32, or as whole numbers still. */
const FOUR: Readonly<Record<WeightKind['format'], string>> = {
  float32: 'return weight[at];',
  float16: 'return halves(weight[at]);',
  bfloat16: `let w = bitcast<vec2<u32>>(weight[at]);
    return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));`,
  int8: 'return vec4<f32>((vec4<i32>(weight[at]) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));',
  uint4: `let w = bitcast<u32>(weight[at / 2]) >> u32(at % 2 * 16);
    return vec4<f32>((vec4<u32>(w) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u));`,
};

/** What whole numbers are too large by. */
const zero = ({ format, lifted }: WeightKind): string => format === 'uint4' && !lifted ? ' - 8.0' : '';

/** Code of `widened(k, n)`: four columns of the weight from `n` on, in row `k`. Columns are a multiple of 4. */
export function widenFour(kind: WeightKind): string {
  const ofGroup = (name: string) => kind.halfScales ? `halves(${name}[group])` : `${name}[group]`;
  const scaled = `let group = (k / uniforms.groupSize * uniforms.columns + n) / 4;
    return (four((k * uniforms.columns + n) / 4)${zero(kind)}) * ${ofGroup('scales')}${kind.lifted ? ` + ${ofGroup('minimums')}` : ''};`;
  return `
  fn halves(words: vec2<i32>) -> vec4<f32> {
    let w = bitcast<vec2<u32>>(words);
    return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
  }
  fn four(at: i32) -> vec4<f32> {
    ${FOUR[kind.format]}
  }
  fn widened(k: i32, n: i32) -> vec4<f32> {
    ${isWhole(kind) ? scaled : 'return four((k * uniforms.columns + n) / 4);'}
  }`;
}

/** The value at `index`, as float32 or as a whole number still. */
const ONE: Readonly<Record<PackedFormat, string>> = {
  float16: 'let value = half(word, index);',
  bfloat16: 'let value = bitcast<f32>(select(word << 16u, word & 0xffff0000u, index % 2 == 1));',
  int8: 'let value = f32((bitcast<i32>(word) << u32(24 - index % 4 * 8)) >> 24u);',
  uint4: 'let value = f32((word >> u32(index % 8 * 4)) & 15u);',
};

/** All values, as float32; of any number of columns. */
export function unpackWords(kind: WeightKind & { format: PackedFormat }): Kernel {
  const { inputs, numbers } = weightInputs(kind);
  const { format, lifted, halfScales } = kind;
  const ofGroup = (name: string) => halfScales ? `half(bitcast<u32>(${name}[group / 2]), group)` : `${name}[group]`;
  return {
    key: `unpack ${format} ${lifted} ${halfScales}`, inputs, numbers: ['elements', 'columns', ...numbers], code: () => `
  fn half(word: u32, at: i32) -> f32 {
    let pair = unpack2x16float(word);
    return pair[at % 2];
  }
  fn main(index: i32) {
    if (index < uniforms.elements) {
      let word = bitcast<u32>(weight[index / ${PER_WORD[format]}]);
      ${ONE[format]}
      ${isWhole(kind) ? 'let group = index / uniforms.columns / uniforms.groupSize * uniforms.columns + index % uniforms.columns;' : ''}
      result[index] = (value${zero(kind)})${isWhole(kind) ? ` * ${ofGroup('scales')}` : ''}${lifted ? ` + ${ofGroup('minimums')}` : ''};
    }
  }`,
  };
}

/** A half of a float32's bits: to the nearest, ties to even; a NaN stays one. WGSL's own packing may round to either side. */
const HALF: Readonly<Record<HalfFormat, string>> = {
  float16: `
    if (magnitude >= 0x47800000u) { return sign | select(0x7c00u, 0x7e00u, magnitude > 0x7f800000u); }
    if (magnitude < 0x38800000u) { return sign | u32(round(bitcast<f32>(magnitude) * 16777216.0)); }
    return sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);`,
  bfloat16: `
    if (magnitude > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;`,
};

/** float32 values as words of two halves. */
export function packWords(format: HalfFormat): Kernel {
  return {
    key: `pack ${format}`, inputs: ['x'], numbers: ['elements'], code: () => `
  fn half(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    let sign = (bits >> 16u) & 0x8000u;${HALF[format]}
  }
  fn main(index: i32) {
    let first = index * 2;
    if (first < uniforms.elements) {
      let low = half(bitcast<u32>(x[first]));
      let high = select(0u, half(bitcast<u32>(x[min(first + 1, uniforms.elements - 1)])), first + 1 < uniforms.elements);
      result[index] = bitcast<i32>(low | (high << 16u));
    }
  }`,
  };
}
