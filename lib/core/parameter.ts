import * as tf from '@tensorflow/tfjs';
import type { FloatDtype } from './float16.js';
import { copyPacked, copyToHost, copyValues } from './host_copy.js';
import { PackedTensor, packings, unpacked, type Operand } from './packed_tensor.js';
import { hasHalves } from './precision.js';
import { StoredHalves } from './stored_halves.js';
import type { StoredValue } from './stored_value.js';

/**
 * How a parameter lies in a torch checkpoint, relative to ours:
 * - `linear`: ours `[in, out]`, torch's `[out, in]`
 * - `pointwise`: ours `[in, out]`, torch's `[out, in, 1, 1]`
 * - `conv`: ours `[height, width, in, out]`, torch's `[out, in, height, width]`
 * - `plain`: the same in both (norms, biases, embeddings)
 */
export type ParameterLayout = 'linear' | 'pointwise' | 'conv' | 'plain';

/** A declared parameter: `shape` is ours, whatever the checkpoint's layout. */
export interface ParameterSpec {
  /** As it is used here. */
  readonly shape: readonly number[];
  /** How a checkpoint has it. */
  readonly layout: ParameterLayout;
}

/** Makes the value that is used from the one that is stored, in a tidy; adapters are such changes. */
export type ParameterChange = (base: tf.Tensor) => tf.Tensor;

export type LayerVariable = ReturnType<tf.layers.Layer['addWeight']>;

/** What a parameter needs of its layer: where tensors stay. */
export interface VariableHolder {
  hold(make: () => tf.Tensor, shape: readonly number[]): LayerVariable;
  free(variable: LayerVariable): void;
}

/**
 * A parameter, whose value may be stored otherwise than it is used. Used is a tensor, which is made of what is stored and of the change on
 * top of that, if there is one. It stays on the device, or is made for the moment. Where kernels take packed values, these stay there
 * instead.
 */
export class Parameter {
  /** Whether it is there for the sake of its change alone. */
  lent = false;
  /** What is used, if that is on the device. */
  private variable?: LayerVariable;
  /** What the change was put onto, if that is on the device. */
  private base?: tf.Tensor;
  /** The value without the change, if it is on the device packed. */
  private packed?: PackedTensor;
  /** Where the value without the change can be had again, if it can. */
  private stored?: StoredValue;
  private change?: ParameterChange;

  constructor(
    private declared: ParameterSpec,
    private readonly initial: (spec: ParameterSpec) => tf.Tensor,
    private readonly holder: VariableHolder,
  ) {}

  get spec(): ParameterSpec {
    return this.declared;
  }

  /** Whether the value that is used is on the device. */
  get isAllocated(): boolean {
    return this.variable !== undefined || this.packed !== undefined;
  }

  /** Bytes that its value takes for good, where a number of its type takes `width`: what is there for the moment does not count. */
  numBytes(width: number): number {
    return this.packed?.numBytes ?? this.stored?.numBytes ?? width * tf.util.sizeFromShape([...this.spec.shape]);
  }

  /** The value, on the device from now on, initialised if there is none yet. It stays the parameter's. */
  get(): tf.Tensor {
    this.variable ??= this.holder.hold(() => this.make(), this.spec.shape);
    return this.variable.read();
  }

  /** As `get`; but unless it is to be kept, and can be had again, only until the caller's tidy ends. */
  use(keep: boolean): tf.Tensor {
    if (!this.packed && (!this.stored || (keep && !this.stored.forTheMoment))) return this.get();
    if (!this.variable) return this.make();
    const value = this.variable.read().clone();
    this.free();
    return value;
  }

  /** The value that is used, as a tensor of the caller's. What is on the device stays as it is. */
  peek(): tf.Tensor {
    if (!this.variable && !this.packed && !this.base && !this.stored) this.get(); // an initial value is drawn once
    return this.variable?.read().clone() ?? this.make();
  }

  /** As `use`, for kernels that take packed values: as it lies packed, from now on if it is to be kept, and widened if it is changed. */
  operand(keep: boolean): Operand {
    const packed = this.lay(keep);
    if (!packed) return this.use(keep);
    this.free();
    this.freeBase();
    return this.change ? changed(unpacked(packed), this.change) : packed;
  }

  /** A new value, taken over, perhaps of another shape; `stored` is where the same can be had again. */
  set(value: Operand, stored?: StoredValue): void {
    this.forget();
    const isPacked = value instanceof PackedTensor;
    if (isPacked || !tf.util.arraysEqual(value.shape, [...this.spec.shape])) {
      this.free();
      this.declared = { ...this.spec, shape: value.shape };
    }
    this.stored = stored;
    if (isPacked) this.packed = value.keep();
    else this.write(value);
  }

  /** A new value, which comes to the device when it is used. */
  store(stored: StoredValue): void {
    this.forget();
    this.free();
    this.stored = stored;
  }

  /** Puts a change on top of what is stored, in the place of an earlier one, or takes that off. */
  changeBy(change?: ParameterChange): void {
    if (!change && !this.change) return;
    if (!this.stored && !this.base && !this.packed) this.get(); // an initial value cannot be had again
    if (this.packed) this.free();
    else if (this.variable && !this.change) this.base = tf.keep(this.variable.read().clone());
    this.change = change;
    if (this.variable) this.write(this.make());
    if (!change) this.freeBase();
  }

  /** Makes the change last: on what lies packed in halves, as torch has it. */
  merge(): void {
    const { stored, change } = this;
    if (!change) return;
    const packed = this.packed ?? (packings.current && this.lay(true));
    if (packed) {
      this.set(packAs(packed.dtype, this.make()));
      this.lent = false;
      return;
    }
    this.stored = this.variable || !stored ? undefined : { read: () => changed(stored.read(), change), forTheMoment: stored.forTheMoment };
    this.freeBase();
    this.change = undefined;
    this.lent = false;
  }

  /** Frees what can be had again. */
  release(): void {
    if (!this.stored) return;
    this.free();
    this.freePacked();
    this.freeBase();
  }

  /** Copies to host memory what could not be had again. */
  async secure(): Promise<void> {
    if (this.stored) return;
    const original = this.original();
    if (this.packed) this.stored = await copyPacked(this.packed);
    else if (original) this.stored = await copyToHost(original);
  }

  /** Brings what is on another backend to the current one: as halves in host memory where halves are wanted of a backend that has none. */
  async move(dtype: FloatDtype): Promise<void> {
    const here = this.packed?.words ?? this.variable?.read();
    if (here && tf.backend().refCount(here.dataId) > 0) return;
    const original = this.original();
    if (this.packed) {
      this.stored = await copyPacked(this.packed);
    } else if (original) {
      this.stored = dtype === 'float32' || hasHalves() ? await copyValues(original)
        : StoredHalves.of(await original.data<'float32'>(), original.shape, dtype);
    }
    this.release();
    if (packings.current && this.lay(true)) {
      this.stored = undefined;
      return;
    }
    if (!here || this.stored!.forTheMoment) return;
    this.get();
    if (!this.change) this.stored = undefined;
  }

  dispose(): void {
    this.forget();
    this.variable?.dispose();
    this.variable = undefined;
  }

  /** The value without the change, if it is on the device. */
  private original(): tf.Tensor | undefined {
    return this.base ?? (this.change ? undefined : this.variable?.read());
  }

  private make(): tf.Tensor {
    const { change } = this;
    const laid = this.packed && unpacked(this.packed);
    const original = laid ?? this.base?.clone() ?? this.stored?.read() ?? this.initial(this.spec);
    return change ? changed(original, change) : original;
  }

  /**
   * The matrix as it lies packed on the device, if it can: from now on if it is to be kept, or cannot be had again; else until the caller's
   * tidy ends.
   */
  private lay(keep: boolean): PackedTensor | undefined {
    const { packed, stored } = this;
    if (this.spec.layout === 'plain') return undefined;
    if (keep || !stored) return this.packed ??= stored?.pack?.().keep();
    if (!packed) return stored.pack?.();
    const passing = packed.clone();
    this.freePacked();
    return passing;
  }

  private write(value: tf.Tensor): void {
    if (this.variable) {
      this.variable.write(value);
      value.dispose();
    } else {
      this.variable = this.holder.hold(() => value, value.shape);
    }
  }

  private forget(): void {
    this.freeBase();
    this.freePacked();
    this.stored = undefined;
    this.change = undefined;
  }

  private free(): void {
    if (this.variable) this.holder.free(this.variable);
    this.variable = undefined;
  }

  private freePacked(): void {
    this.packed?.dispose();
    this.packed = undefined;
  }

  private freeBase(): void {
    this.base?.dispose();
    this.base = undefined;
  }
}

/** `change(base)`, of a base that is taken over. */
function changed(base: tf.Tensor, change: ParameterChange): tf.Tensor {
  const value = tf.tidy(() => change(base).clone());
  base.dispose();
  return value;
}

/** A value that is taken over as halves, if it is computed in these. */
function packAs(dtype: FloatDtype, value: tf.Tensor): Operand {
  if (dtype === 'float32') return value;
  const packed = packings.current!.pack(value, dtype);
  value.dispose();
  return packed;
}
