import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';
import { decodeFloat16 } from './float16.js';
import type { PackedTensor } from './packed_tensor.js';
import { StoredHalves } from './stored_halves.js';
import { StoredQuantized } from './stored_quantized.js';
import type { StoredValue } from './stored_value.js';

/** A backend's own way to copy a tensor's values to host memory. */
export const hostCopies = new BackendAbility<(x: tf.Tensor) => Promise<StoredValue>>();

/** Copies a tensor's values to host memory, from where they can come back. The tensor stays as it is. */
export async function copyToHost(x: tf.Tensor): Promise<StoredValue> {
  return (hostCopies.current ?? copyValues)(x);
}

/** As `copyToHost`, in float32 and without help of the backend. */
export async function copyValues(x: tf.Tensor): Promise<StoredValue> {
  return storeOnHost(await x.data<'float32'>(), x.shape);
}

/** Values that are in host memory already. */
export function storeOnHost(values: Float32Array, shape: readonly number[]): StoredValue {
  return { read: () => tf.tensor(values, [...shape]) };
}

/** Copies packed values to host memory, as they lie. They stay as they are. */
export async function copyPacked({ format, dtype, shape, words, groups }: PackedTensor): Promise<StoredValue> {
  const copy = await words.data<'int32'>();
  if (format === 'float16' || format === 'bfloat16') return new StoredHalves(copy, shape, format);
  const halfScales = groups!.scales.dtype === 'int32';
  const floats = async (x: tf.Tensor) => {
    const values = await x.data();
    return halfScales ? decodeFloat16(new Uint16Array(values.buffer, values.byteOffset, 2 * values.length)) : values as Float32Array;
  };
  const [scales, minimums] = [await floats(groups!.scales), groups!.minimums && await floats(groups!.minimums)];
  const [bits, Values] = format === 'int8' ? [8, Int8Array] as const : [4, Uint8Array] as const;
  const values = new Values(copy.buffer as ArrayBuffer, copy.byteOffset, copy.byteLength);
  return new StoredQuantized({ bits, shape, groupSize: groups!.size, values, scales, minimums, halfScales }, dtype);
}
