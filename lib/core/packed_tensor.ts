import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';
import type { FloatDtype } from './float16.js';

/** How values lie in words of 32 bits: two halves, four int8, eight whole numbers of 0 to 15, the first in the lowest bits. */
export type PackedFormat = HalfFormat | 'int8' | 'uint4';
/** Floating-point numbers of 16 bits. */
export type HalfFormat = Exclude<FloatDtype, 'float32'>;

/** Scales and minimums that turn whole numbers into values: `scale * number + minimum`, one pair for each column and group of rows. */
export interface PackedGroups {
  /** How many rows share a scale. */
  readonly size: number;
  /** float32 `[ceil(rows / size), columns]`; or as many float16, two in a word of int32. */
  readonly scales: tf.Tensor;
  /** Shaped as the scales. Without them int8 have the minimum 0, and numbers of 4 bits, 0 to 15, stand for -8 to 7. */
  readonly minimums?: tf.Tensor;
}

/**
 * Values that stay packed on the device, for kernels that widen them while they read them: it takes less memory, and less memory is read.
 * They are a matrix `[rows, columns]`, columns fastest, of which columns are the last axis and rows all others.
 */
export class PackedTensor {
  /**
   * @param shape of the values, in our layout.
   * @param words int32 `[ceil(values / values in a word)]`.
   * @param dtype what is computed with them, where the backend has that type.
   */
  constructor(
    readonly format: PackedFormat, readonly dtype: FloatDtype, readonly shape: readonly number[], readonly words: tf.Tensor,
    readonly groups?: PackedGroups,
  ) {}

  /** Bytes that it takes on the device. */
  get numBytes(): number {
    return this.tensors().reduce((sum, { size }) => sum + 4 * size, 0);
  }

  /** The same values, in tensors of their own. */
  clone(): PackedTensor {
    const { format, dtype, shape, words, groups } = this;
    const copy = groups && { ...groups, scales: groups.scales.clone(), minimums: groups.minimums?.clone() };
    return new PackedTensor(format, dtype, shape, words.clone(), copy);
  }

  /** Lets it outlast the tidy that it is made in. */
  keep(): this {
    this.tensors().forEach(tensor => tf.keep(tensor));
    return this;
  }

  dispose(): void {
    tf.dispose(this.tensors());
  }

  private tensors(): tf.Tensor[] {
    const { words, groups } = this;
    return [words, ...groups ? [groups.scales, ...groups.minimums ? [groups.minimums] : []] : []];
  }
}

/** What kernels take: a tensor, or a packed one. */
export type Operand = tf.Tensor | PackedTensor;

/** What a backend has whose kernels take packed tensors. */
export interface Packing {
  /** The values as float32: the caller's. */
  unpack(packed: PackedTensor): tf.Tensor;
  /** float32 values as halves, to the nearest, ties to even. */
  pack(x: tf.Tensor, format: HalfFormat): PackedTensor;
}

export const packings = new BackendAbility<Packing>();

/** The values as a tensor: `value` itself where it is one. @throws Error where the current backend is not the one where they lie. */
export function unpacked(value: Operand): tf.Tensor {
  if (!(value instanceof PackedTensor)) return value;
  const packing = packings.current;
  if (!packing) throw new Error(`the weights lie packed on another device than ${tf.getBackend()}: \`await pipe.to(device)\` first`);
  return packing.unpack(value);
}

/** What is stored, as a tensor by way of the device: undefined on backends that take nothing packed. */
export function readByUnpacking(pack: () => PackedTensor): tf.Tensor | undefined {
  const packing = packings.current;
  return packing && tf.tidy(() => packing.unpack(pack()));
}
