import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from '../core/backend_ability.js';
import type { ParameterSpec } from '../core/block.js';
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16, FLOAT_DTYPES, type FloatDtype } from '../core/float16.js';
import type { TensorSource } from '../core/host_copy.js';
import type { WeightFile } from '../files/byte_source.js';
import { torchToTfjs, type FileLayout } from './layouts.js';
import { decodeTensor, elementSizes, type TensorInfo } from './safetensors.js';

/** A tensor of a file that a parameter of a model takes. */
export interface FoundWeight {
  readonly path: string;
  readonly spec: ParameterSpec;
  readonly file: WeightFile;
  readonly info: TensorInfo;
  readonly layout: FileLayout;
}

/** What parameters become. Where a backend has no half types, they are kept as halves and widened while their layer runs. */
export type WeightDtype = FloatDtype;
export const WEIGHT_DTYPES = FLOAT_DTYPES;

/** Turns weights of files into tensors, in our layout. Used for one load, then closed. */
export interface WeightReader {
  read(weight: FoundWeight): Promise<tf.Tensor>;
  /** How to read a weight again, at any time later, without another copy in memory; undefined where that cannot be. */
  source?(weight: FoundWeight): TensorSource | undefined;
  /** Keeps a weight as halves in host memory, instead of `read`: where halves are wanted of a backend that has none. */
  keep?(weight: FoundWeight): Promise<TensorSource>;
  close(): void;
}

/** A backend's own, faster way of reading. */
export const weightReaders = new BackendAbility<(dtype: WeightDtype) => WeightReader>();

/** The current backend's way of reading, or the one that works on all: decode in JavaScript, hand over. */
export function openWeightReader(dtype: WeightDtype): WeightReader {
  return weightReaders.current?.(dtype) ?? {
    read: async weight => tf.tensor(await floats(weight), [...weight.spec.shape]),
    ...(dtype !== 'float32' && { keep: async weight => keepHalf(await floats(weight), weight.spec.shape, dtype) }),
    close: () => undefined,
  };
}

/** Whether weights of this type are kept as halves and widened while their layer runs. */
export function widensHalves(dtype: WeightDtype): boolean {
  return dtype !== 'float32' && weightReaders.current === undefined;
}

/** Values as halves in memory, rounded to nearest, that widen each time they are asked for. */
export function keepHalf(values: Float32Array, shape: readonly number[], dtype: 'float16' | 'bfloat16'): TensorSource {
  const [bits, decode] = dtype === 'float16' ? [encodeFloat16(values), decodeFloat16] : [encodeBfloat16(values), decodeBfloat16];
  return () => tf.tensor(decode(bits), [...shape]);
}

async function floats(weight: FoundWeight): Promise<Float32Array> {
  const values = decodeTensor(weight.info.dtype, await readWeight(weight));
  return values instanceof Float32Array ? values : Float32Array.from(values);
}

/** The bytes of a weight, of the file's dtype, in our layout. */
export async function readWeight({ spec, file, info, layout }: FoundWeight): Promise<Uint8Array> {
  const bytes = await file.source.read(info.offset, info.byteLength);
  return layout === 'tfjs' ? bytes : torchToTfjs(bytes, elementSizes[info.dtype], info.shape, spec.layout);
}
