import { bytesOf } from '../lib/core/bytes_of.js';
import { checkOneOf } from '../lib/core/checks.js';
import { encodeFloat16, FLOAT_DTYPES, type FloatDtype } from '../lib/core/float16.js';
import { matrixOf, type QuantizedMatrix } from '../lib/core/quantized.js';
import type { FoundWeight } from '../lib/weights/found_weight.js';
import { convertDtype, FLOATS_IN_FILES } from '../lib/weights/convert_dtype.js';
import { minimumsOf, scalesOf } from '../lib/weights/quantized_weights.js';
import { readQuantized, widened } from '../lib/weights/read_quantized.js';
import { decodeTensor, type Dtype } from '../lib/weights/safetensors.js';
import { readWeight } from '../lib/weights/weight_reader.js';
import type { WeightToWrite } from '../lib/weights/write_weights.js';
import { groupSizeOf, isQuantizable, quantize } from './quantize.js';

/** In fewer bits: so many. */
const BITS = { int8: 8, int4: 4 } as const;

/** What a model's weights can become. */
export type ConvertDtype = FloatDtype | keyof typeof BITS;

/**
 * What weights become: all of a float type; or of those at paths of `among` those that can be of so many bits, and the others float16.
 * Undefined: what they are.
 */
export type Encoding = { readonly dtype: Dtype } | { readonly bits: 4 | 8; readonly among: RegExp } | undefined;

/**
 * Of which networks, by their classes' names, which weights are in fewer bits. What is outside of a transformer's blocks is what it begins
 * and ends with, and what tells it the time: hardly a hundredth of it. T5 is larger than the transformer that it reads for.
 */
const IN_FEWER_BITS: ReadonlyArray<[className: RegExp, paths: RegExp]> = [
  [/^(UNet|ControlNet)/, /^/], [/^SD3Transformer/, /^transformer_blocks\./], [/^T5Encoder/, /^encoder\.block\./],
];

/** What the weights of a network of that class become. @throws RangeError for a name that is none. */
export function encodings(name?: ConvertDtype): (className: string) => Encoding {
  if (name === undefined) return () => undefined;
  checkOneOf('dtype', name, [...FLOAT_DTYPES, ...Object.keys(BITS)]);
  if (name !== 'int8' && name !== 'int4') return () => ({ dtype: FLOATS_IN_FILES[name] });
  return className => {
    const [, among] = IN_FEWER_BITS.find(([classes]) => classes.test(className)) ?? [];
    return among ? { bits: BITS[name], among } : { dtype: 'F16' };
  };
}

/** A weight as it is to be written. */
export interface EncodedWeight extends WeightToWrite {
  /** How many numbers have a scale together, if it is in fewer bits. */
  readonly groupSize?: number;
}

/** Says what is to be written of a weight, which is read and computed when it is asked for. */
export function encodeWeight(weight: FoundWeight, encoding: Encoding): EncodedWeight {
  const { path, spec, info, quantized } = weight;
  if (encoding && 'bits' in encoding && encoding.among.test(path) && isQuantizable(spec, encoding.bits)) {
    const { bits } = encoding;
    const scales = { dtype: bits === 8 ? 'F32' : 'F16', minimums: false } as const;
    return encodeQuantized(weight, bits, groupSizeOf(bits, spec.shape), scales, async () => {
      const source = quantized ? widened(weight) : weight;
      const values = decodeTensor('F32', convertDtype(path, await readWeight(source), source.info.dtype, 'F32')) as Float32Array;
      return quantize(path, values, spec.shape, bits);
    });
  }
  if (!encoding && quantized && spec.layout !== 'plain') {
    const { groupSize, scales: { dtype }, minimums } = quantized;
    const scales = { dtype, minimums: minimums !== undefined };
    return encodeQuantized(weight, info.dtype === 'I8' ? 8 : 4, groupSize, scales, () => readQuantized(weight));
  }
  const source = quantized ? widened(weight) : weight;
  const dtype = encoding ? 'bits' in encoding ? 'F16' : encoding.dtype : source.info.dtype;
  const bytes = async () => convertDtype(path, await readWeight(source), source.info.dtype, dtype);
  return { tensors: [{ name: path, dtype, shape: spec.shape, bytes }] };
}

/** Its numbers, its scales and perhaps its minimums, all of one `QuantizedMatrix`, which is made once. */
function encodeQuantized(
  { path, spec: { shape } }: FoundWeight, bits: 4 | 8, groupSize: number, scales: { dtype: Dtype; minimums: boolean },
  make: () => Promise<QuantizedMatrix>,
): EncodedWeight {
  const { depth, columns } = matrixOf(shape);
  const groups = Math.ceil(depth / groupSize);
  let left = scales.minimums ? 3 : 2;
  let made: Promise<QuantizedMatrix> | undefined;
  const part = async (take: (matrix: QuantizedMatrix) => Uint8Array) => {
    const matrix = made ??= make();
    if (--left === 0) made = undefined; // nothing of it is needed any more
    return take(await matrix);
  };
  const floats = (values: Float32Array) => bytesOf(scales.dtype === 'F16' ? encodeFloat16(values) : values);
  const ofScales = { dtype: scales.dtype, shape: [groups, columns] };
  const numbers = bits === 8 ? { dtype: 'I8' as const, shape } : { dtype: 'U8' as const, shape: [...shape.slice(0, -1), columns / 2] };
  return {
    groupSize,
    tensors: [
      { name: path, ...numbers, bytes: () => part(({ values }) => bytesOf(values)) },
      { name: scalesOf(path), ...ofScales, bytes: () => part(matrix => floats(matrix.scales)) },
      ...scales.minimums ? [{ name: minimumsOf(path), ...ofScales, bytes: () => part(({ minimums }) => floats(minimums!)) }] : [],
    ],
  };
}
