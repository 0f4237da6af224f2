import { flag, integer, PLAIN_TENSORS, shape, text, TF, type, type Attribute, type Metadata, type Values } from './binding.js';
import type { EagerContext } from './eager_context.js';

/** Some ops on TensorFlow's own tensors: what they make is freed at the end, or before by `free`. What is put in stays its owner's. */
export class Scope {
  private readonly made: number[] = [];

  private constructor(private readonly context: EagerContext) {}

  /** What `work` returns, which is the caller's. */
  static run(context: EagerContext, work: (scope: Scope) => Metadata): Metadata {
    const scope = new Scope(context);
    try {
      const result = work(scope);
      scope.forget(result);
      return result;
    } finally {
      for (const id of scope.made) context.free(id);
    }
  }

  /** A float32 number. */
  number(value: number): Metadata {
    return this.upload([], TF.FLOAT, Float32Array.of(value));
  }

  upload(shape: number[], dtype: number, values: Values): Metadata {
    const id = this.context.upload(shape, dtype, values);
    this.made.push(id);
    return { id, shape, dtype };
  }

  /** An op of inputs of one type, which has no other attributes. */
  op(name: string, ...inputs: Metadata[]): Metadata {
    return this.execute(name, [type('T', inputs[0].dtype)], ...inputs);
  }

  matMul(a: Metadata, b: Metadata): Metadata {
    return this.execute('MatMul', productOf(a), a, b);
  }

  /** As `matMul`, by oneDNN, where this TensorFlow has it. */
  oneDnnMatMul(a: Metadata, b: Metadata): Metadata {
    return this.execute('_MklMatMul', [...productOf(a), PLAIN_TENSORS], a, b);
  }

  cast(x: Metadata, to: number): Metadata {
    return x.dtype === to ? x : this.execute('Cast', [type('SrcT', x.dtype), type('DstT', to), flag('Truncate', false)], x);
  }

  /** The same bytes as elements of another type: uint8 `[..., size]` -> `[...]`, and back. */
  bitcast(x: Metadata, to: number): Metadata {
    return this.execute('Bitcast', [type('T', x.dtype), type('type', to)], x);
  }

  reshape(x: Metadata, to: readonly number[]): Metadata {
    return this.execute('Reshape', [type('T', x.dtype), type('Tshape', TF.INT32)], x, this.ints(to));
  }

  transpose(x: Metadata, axes: readonly number[]): Metadata {
    return this.execute('Transpose', [type('T', x.dtype), type('Tperm', TF.INT32)], x, this.ints(axes));
  }

  concat(parts: readonly Metadata[], axis: number): Metadata {
    const attributes = [integer('N', parts.length), type('T', parts[0].dtype), type('Tidx', TF.INT32)];
    return this.execute('ConcatV2', attributes, ...parts, this.upload([], TF.INT32, Int32Array.of(axis)));
  }

  /** Over axes that stay, as 1, unless they shall not. */
  mean(x: Metadata, axes: readonly number[], keepDims = true): Metadata {
    return this.execute('Mean', [flag('keep_dims', keepDims), type('T', x.dtype), type('Tidx', TF.INT32)], x, this.ints(axes));
  }

  /** The bytes of a file, mapped, not read: `[size]`. CPU only. */
  mapFile(path: string, size: number): Metadata {
    return this.execute('ImmutableConst', [type('dtype', TF.UINT8), shape('shape', [size]), text('memory_region_name', path)]);
  }

  /** `length` bytes from `offset` on: a view where the offset is a multiple of 64, else a copy. */
  sliceBytes(bytes: Metadata, offset: number, length: number): Metadata {
    const int64 = (value: number) => this.upload([1], TF.INT64, new Int32Array([value % 2 ** 32 | 0, Math.floor(value / 2 ** 32)]));
    return this.execute('Slice', [type('T', TF.UINT8), type('Index', TF.INT64)], bytes, int64(offset), int64(length));
  }

  /** Gives back what an op made, before the end. */
  free(...tensors: Metadata[]): void {
    for (const tensor of tensors) if (this.forget(tensor)) this.context.free(tensor.id);
  }

  /** Whether it was made here. */
  private forget({ id }: Metadata): boolean {
    const index = this.made.lastIndexOf(id);
    if (index >= 0) this.made.splice(index, 1);
    return index >= 0;
  }

  private execute(op: string, attributes: Attribute[], ...inputs: Metadata[]): Metadata {
    const [result] = this.context.run(op, attributes, inputs.map(({ id }) => id));
    this.made.push(result.id);
    return result;
  }

  private ints(values: readonly number[]): Metadata {
    return this.upload([values.length], TF.INT32, new Int32Array(values));
  }
}

function productOf({ dtype }: Metadata): Attribute[] {
  return [type('T', dtype), flag('transpose_a', false), flag('transpose_b', false)];
}
