import { bytesOf } from '../core/bytes_of.js';
import { dequantize, packNibbles, unpackNibbles, type QuantizedMatrix } from '../core/quantized.js';
import type { FoundWeight } from './found_weight.js';
import { torchToTfjs } from './layouts.js';
import { BITS, matrixSizes, numbersShape } from './quantized_weights.js';
import { decodeTensor, type TensorInfo } from './safetensors.js';

/** Reads a weight that is in fewer bits in its file, and was checked; of a plain parameter in torch's layout with its axes exchanged. */
export async function readQuantized({ spec, file: { source }, info, layout, quantized }: FoundWeight): Promise<QuantizedMatrix> {
  const { groupSize, scales, minimums } = quantized!;
  const bits = BITS[info.dtype]!;
  const { depth, columns } = matrixSizes(numbersShape(info, layout), layout)!;
  const turn = (bytes: Uint8Array, elementSize: number, inputs: number) =>
    layout === 'tfjs' ? bytes : torchToTfjs(bytes, elementSize, [columns, inputs], 'linear');
  const floats = async ({ dtype, shape, offset, byteLength }: TensorInfo) => {
    const values = decodeTensor(dtype, await source.read(offset, byteLength)) as Float32Array;
    return decodeTensor('F32', turn(bytesOf(values), 4, shape[1])) as Float32Array;
  };
  const bytes = await source.read(info.offset, info.byteLength);
  const values = layout === 'tfjs' || bits === 8 ? turn(bytes, 1, depth) : packNibbles(turn(unpackNibbles(bytes), 1, depth));
  return {
    bits, groupSize, shape: spec.layout === 'plain' ? [depth, columns] : spec.shape,
    values: bits === 8 ? new Int8Array(values.buffer, values.byteOffset, values.length) : values,
    scales: await floats(scales), minimums: minimums && await floats(minimums),
    halfScales: [scales, minimums].every(part => !part || part.dtype === 'F16'),
  };
}

/** A weight that is in fewer bits as one of float32 in our layout, which is made when it is read. */
export function widened(weight: FoundWeight): FoundWeight {
  const { spec, file: { name }, layout } = weight;
  const byteLength = 4 * spec.shape.reduce((product, size) => product * size, 1);
  const wide = async () => {
    const matrix = await readQuantized(weight);
    const bytes = bytesOf(dequantize(matrix));
    return spec.layout === 'plain' && layout === 'torch' ? torchToTfjs(bytes, 4, matrix.shape, 'linear') : bytes;
  };
  const source = {
    size: byteLength, close: async () => undefined,
    read: async (offset: number, length: number) => (await wide()).subarray(offset, offset + length),
  };
  const info = { dtype: 'F32', shape: spec.shape, offset: 0, byteLength } as const;
  return { path: weight.path, spec, file: { name, source }, info, layout: 'tfjs' };
}
