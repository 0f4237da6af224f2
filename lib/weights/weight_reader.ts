import * as tf from '@tensorflow/tfjs';
import type { TensorSource } from '../core/offload.js';
import { torchToTfjs } from './layouts.js';
import type { FoundWeight } from './load_weights.js';
import { decodeTensor, elementSizes } from './safetensors.js';

/** What parameters become. Where a backend has no half types, they are computed in float32 whatever is asked. */
export type WeightDtype = 'float32' | 'float16' | 'bfloat16';
export const WEIGHT_DTYPES: readonly WeightDtype[] = ['float32', 'float16', 'bfloat16'];

/** Turns weights of files into tensors, in our layout. Used for one load, then closed. */
export interface WeightReader {
  read(weight: FoundWeight): Promise<tf.Tensor>;
  /** How to read a weight again, at any time later, without another copy in memory; undefined where that cannot be. */
  source?(weight: FoundWeight): TensorSource | undefined;
  close(): void;
}

const readers = new Map<string, (dtype: WeightDtype) => WeightReader>();

/** Gives a tfjs backend its own, faster way of reading. */
export function registerWeightReader(backend: string, make: (dtype: WeightDtype) => WeightReader): void {
  readers.set(backend, make);
}

/** The current backend's way of reading, or the one that works on all: decode in JavaScript, hand over. */
export function openWeightReader(dtype: WeightDtype): WeightReader {
  return readers.get(tf.getBackend())?.(dtype) ?? {
    read: async weight => {
      const values = decodeTensor(weight.info.dtype, await readWeight(weight));
      return tf.tensor(values instanceof Float32Array ? values : Float32Array.from(values), [...weight.spec.shape]);
    },
    close: () => undefined,
  };
}

/** The bytes of a weight, of the file's dtype, in our layout. */
export async function readWeight({ spec, file, info, layout }: FoundWeight): Promise<Uint8Array> {
  const bytes = await file.source.read(info.offset, info.byteLength);
  return layout === 'tfjs' ? bytes : torchToTfjs(bytes, elementSizes[info.dtype], info.shape, spec.layout);
}
