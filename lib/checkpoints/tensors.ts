import { brief } from '../core/checks.js';
import { torchToTfjs } from '../weights/layouts.js';
import { byteSize, elementSizes } from '../weights/safetensors.js';
import type { CheckpointTensor, QuantizedParts } from './checkpoint_tensor.js';
import type { Shapes } from './shapes.js';

/** Tensors of a checkpoint, by their names. Nothing here reads one before it is asked for. */
export type Tensors = Map<string, CheckpointTensor>;

/** Some of a tensor's rows: of so many equal parts along the first axis those, in that order. */
export interface RowParts {
  readonly of: number;
  readonly take: readonly number[];
}

/** The elements of those rows, of all elements: where these are one part, on the same memory. */
export function takeRows<T extends Uint8Array | Float32Array>(all: T, { of, take }: RowParts): T {
  const size = all.length / of;
  const parts = take.map(part => all.subarray(part * size, (part + 1) * size) as T);
  if (parts.length === 1) return parts[0];
  const joined = new (all.constructor as new (length: number) => T)(size * parts.length);
  parts.forEach((part, i) => joined.set(part, i * size));
  return joined;
}

/** Those of its rows. Where these are one part, they lie where the tensor lies. */
export function rowsOf(tensor: CheckpointTensor, { of, take }: RowParts): CheckpointTensor {
  const { dtype, shape: [rows, ...rest], offset, quantized } = tensor;
  return {
    dtype,
    shape: [rows / of * take.length, ...rest],
    offset: offset === undefined || take.length > 1 ? undefined : offset + take[0] * byteSize(tensor) / of,
    read: async source => takeRows(await tensor.read(source), { of, take }),
    quantized: quantized && quantizedRows(quantized, { of, take }),
  };
}

function quantizedRows({ groupSize, scales, minimums, widened }: QuantizedParts, rows: RowParts): QuantizedParts {
  return { groupSize, scales: rowsOf(scales, rows), minimums: minimums && rowsOf(minimums, rows), widened: rowsOf(widened, rows) };
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

/** A name that a tensor gets, with some of its rows if not all. */
export interface RenamedRows {
  readonly name: string;
  readonly rows?: RowParts;
}

/** All under other names, some in parts. @param called what errors call the network. @throws RangeError for rows that cannot be parted. */
export function parted(called: string, tensors: Tensors, rename: (key: string) => readonly RenamedRows[]): Tensors {
  const result: Tensors = new Map();
  for (const [key, tensor] of tensors) {
    for (const { name, rows } of rename(key)) {
      if (rows && (tensor.shape.length === 0 || tensor.shape[0] % rows.of !== 0)) {
        throw new RangeError(`${called}: ${brief(key)} has the shape [${tensor.shape.join(', ')}], takes rows in ${rows.of} equal parts`);
      }
      if (result.has(name)) throw new RangeError(`${brief(key)}: another weight is called ${brief(name)} already`);
      result.set(name, rows ? rowsOf(tensor, rows) : tensor);
    }
  }
  return result;
}

/** Their shapes by name. */
export function shapesOf(tensors: Tensors): Shapes {
  return key => tensors.get(key)?.shape;
}
