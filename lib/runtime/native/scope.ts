import type * as tf from '@tensorflow/tfjs';
import { makeTensor, TF, type Attribute, type Metadata, type NativeBackend } from './backend.js';

/** The ops of one kernel, on TensorFlow's own tensors: what they make is freed at the kernel's end, or before by `free`. */
export class Scope {
  private readonly made: number[] = [];

  private constructor(private readonly backend: NativeBackend) {}

  /** What `work` returns, as a tensor of its shape or another. */
  static run(backend: NativeBackend, work: (scope: Scope) => Metadata, shape?: number[]): tf.Tensor {
    const scope = new Scope(backend);
    try {
      const result = work(scope);
      scope.forget(result);
      return makeTensor(backend, result, shape);
    } finally {
      scope.made.forEach(id => backend.binding.deleteTensor(id));
    }
  }

  /** `x`, which stays its owner's, in its shape or another. */
  input({ dataId, shape: own }: tf.Tensor, shape = own): Metadata {
    const [id] = this.backend.getInputTensorIds([{ dataId, shape } as tf.Tensor]);
    return { id, shape, dtype: this.backend.tensorMap.get(dataId).dtype };
  }

  /** As `input`, as another type, which is made once and kept as long as `x` is: for weights, and what many layers are given. */
  inputAs(dtype: number, { dataId, shape: own }: tf.Tensor, shape = own): Metadata {
    return { id: this.backend.getIdAs({ dataId, shape } as tf.Tensor, dtype), shape, dtype };
  }

  /** A float32 number. */
  number(value: number): Metadata {
    return { id: this.upload([], TF.FLOAT, Float32Array.of(value)), shape: [], dtype: TF.FLOAT };
  }

  /** An op of inputs of one type, which has no other attributes. */
  op(name: string, ...inputs: Metadata[]): Metadata {
    return this.execute(name, [this.type('T', inputs[0].dtype)], inputs.map(({ id }) => id));
  }

  matMul(a: Metadata, b: Metadata): Metadata {
    return this.execute('MatMul', [this.type('T', a.dtype), this.flag('transpose_a', false), this.flag('transpose_b', false)], [a.id, b.id]);
  }

  cast(x: Metadata, to: number): Metadata {
    return x.dtype === to ? x : this.execute('Cast', [this.type('SrcT', x.dtype), this.type('DstT', to), this.flag('Truncate', false)], [x.id]);
  }

  /** Over axes that stay, as 1, unless they shall not. */
  mean(x: Metadata, axes: readonly number[], keepDims = true): Metadata {
    return this.execute('Mean', [this.flag('keep_dims', keepDims), this.type('T', x.dtype), this.type('Tidx', TF.INT32)], [x.id, this.ints(axes)]);
  }

  /** Gives back what an op made, before the end. */
  free(...tensors: Metadata[]): void {
    for (const tensor of tensors) if (this.forget(tensor)) this.backend.binding.deleteTensor(tensor.id);
  }

  /** Whether it was made here. */
  private forget({ id }: Metadata): boolean {
    const index = this.made.indexOf(id);
    if (index >= 0) this.made.splice(index, 1);
    return index >= 0;
  }

  private execute(name: string, attributes: Attribute[], ids: number[]): Metadata {
    const [result] = this.backend.binding.executeOp(name, attributes, ids, 1);
    this.made.push(result.id);
    return result;
  }

  private ints(values: readonly number[]): number {
    return this.upload([values.length], TF.INT32, Int32Array.from(values));
  }

  private upload(...tensor: Parameters<NativeBackend['binding']['createTensor']>): number {
    const id = this.backend.binding.createTensor(...tensor);
    this.made.push(id);
    return id;
  }

  private type(name: string, value: number): Attribute {
    return { name, type: this.backend.binding.TF_ATTR_TYPE, value };
  }

  private flag(name: string, value: boolean): Attribute {
    return { name, type: this.backend.binding.TF_ATTR_BOOL, value };
  }
}
