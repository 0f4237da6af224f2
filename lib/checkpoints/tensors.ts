import { brief } from '../core/checks.js';
import { torchToTfjs } from '../weights/layouts.js';
import { byteSize, elementSizes } from '../weights/safetensors.js';
import type { CheckpointTensor, QuantizedParts } from './checkpoint_tensor.js';
import type { Shapes } from './shapes.js';

/** Tensors of a checkpoint, by their names. Nothing here reads one before it is asked for. */
export type Tensors = Map<string, CheckpointTensor>;

/** Part `i` of `parts` equal ones along the first axis. */
export function slice(tensor: CheckpointTensor, i: number, parts: number): CheckpointTensor {
  const [rows, ...rest] = tensor.shape;
  return {
    dtype: tensor.dtype,
    shape: [rows / parts, ...rest],
    offset: tensor.offset === undefined ? undefined : tensor.offset + i * byteSize(tensor) / parts,
    read: async source => {
      const bytes = await tensor.read(source);
      return bytes.subarray(i * bytes.length / parts, (i + 1) * bytes.length / parts);
    },
    quantized: tensor.quantized && slicedParts(tensor.quantized, i, parts),
  };
}

function slicedParts({ groupSize, scales, minimums, widened }: QuantizedParts, i: number, parts: number): QuantizedParts {
  return {
    groupSize, scales: slice(scales, i, parts), minimums: minimums && slice(minimums, i, parts), widened: slice(widened, i, parts),
  };
}

/** A matrix with its axes exchanged: as floats, for groups lie along one of them. */
export function transposed(matrix: CheckpointTensor): CheckpointTensor {
  const tensor = matrix.quantized?.widened ?? matrix;
  const [rows, columns] = tensor.shape;
  return {
    dtype: tensor.dtype,
    shape: [columns, rows],
    read: async source => torchToTfjs(await tensor.read(source), elementSizes[tensor.dtype], tensor.shape, 'linear'),
  };
}

/** The tensors whose names begin with the prefix, without it. */
export function below(tensors: Tensors, prefix: string): Tensors {
  return new Map([...tensors].filter(([key]) => key.startsWith(prefix)).map(([key, tensor]) => [key.slice(prefix.length), tensor]));
}

/** All under other names. @throws RangeError for two of one name. */
export function renamed(tensors: Tensors, rename: (key: string) => string): Tensors {
  const result: Tensors = new Map();
  for (const [key, tensor] of tensors) {
    const name = rename(key);
    if (result.has(name)) throw new RangeError(`${brief(key)}: another weight is called ${brief(name)} already`);
    result.set(name, tensor);
  }
  return result;
}

/** Their shapes by name. */
export function shapesOf(tensors: Tensors): Shapes {
  return key => tensors.get(key)?.shape;
}
