import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from '../core/backend_ability.js';
import { FLOAT_DTYPES, type FloatDtype } from '../core/float16.js';
import { storeOnHost } from '../core/host_copy.js';
import { packings, type Operand } from '../core/packed_tensor.js';
import { StoredHalves } from '../core/stored_halves.js';
import { StoredQuantized } from '../core/stored_quantized.js';
import type { StoredValue } from '../core/stored_value.js';
import { FLOATS_IN_FILES } from './convert_dtype.js';
import type { FoundWeight } from './found_weight.js';
import { torchToTfjs } from './layouts.js';
import { readQuantized, widened } from './read_quantized.js';
import { decodeTensor, elementSizes } from './safetensors.js';

/**
 * The type of parameters in memory. On a backend without half types, halves are in host memory and become float32 while their layer runs,
 * or are on the device and its kernels widen them.
 */
export type WeightDtype = FloatDtype;
export const WEIGHT_DTYPES = FLOAT_DTYPES;

/** How weights are read. */
export interface ReadOptions {
  dtype: WeightDtype;
  /** Whether to leave them off the device until they are used. */
  offload: boolean;
}

/** A weight on the device, perhaps with where it can be had again, or off the device. */
export type ReadWeight = { value: Operand; stored?: StoredValue } | { value?: undefined; stored: StoredValue };

/** Reads weights of files, in our layout. Used for one load, then closed. */
export interface WeightReader {
  read(weight: FoundWeight): Promise<ReadWeight>;
  close(): void;
}

/** A backend's own, faster way of reading. */
export const weightReaders = new BackendAbility<(options: ReadOptions) => WeightReader>();

/** The current backend's way of reading, or the one that works on all. What is in fewer bits stays so, on all backends. */
export function openWeightReader(options: ReadOptions): WeightReader {
  const reader = weightReaders.current?.(options) ?? { read: (weight: FoundWeight) => decode(weight, options), close: () => undefined };
  return {
    read: async weight => {
      if (!weight.quantized) return reader.read(weight);
      if (weight.spec.layout === 'plain') return reader.read(widened(weight)); // what is looked up, or added, is no matrix
      return lay(new StoredQuantized(await readQuantized(weight), options.dtype), options);
    },
    close: () => reader.close(),
  };
}

/** Decodes in JavaScript. A backend without a reader of its own has no halves: they stay in host memory, or packed on the device. */
async function decode(weight: FoundWeight, { dtype, offload }: ReadOptions): Promise<ReadWeight> {
  const { shape, layout } = weight.spec;
  if (dtype === 'float32') {
    const values = await floats(weight);
    return offload ? { stored: storeOnHost(values, shape) } : { value: tf.tensor(values, [...shape]) };
  }
  const stored = weight.info.dtype === FLOATS_IN_FILES[dtype] ? StoredHalves.ofBytes(await readWeight(weight), shape, dtype)
    : StoredHalves.of(await floats(weight), shape, dtype);
  return layout === 'plain' && packings.current && !offload ? { value: stored.read() } : lay(stored, { offload });
}

/** Where it stays: packed on a device whose kernels take it so, and nowhere else; or in host memory. */
function lay(stored: StoredHalves | StoredQuantized, { offload }: Pick<ReadOptions, 'offload'>): ReadWeight {
  return packings.current && !offload ? { value: stored.pack() } : { stored };
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
