import * as tf from '@tensorflow/tfjs';

/** TensorFlow's numbers for the types that appear here. */
export const TF = { FLOAT: 1, DOUBLE: 2, INT32: 3, UINT8: 4, INT64: 9, BFLOAT16: 14, HALF: 19 } as const;

export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

/** A tensor of TensorFlow: what an op puts out. */
export interface Metadata {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

/** What is used here of the C++ addon. */
export interface Binding {
  readonly TF_Version: string;
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_SHAPE: number;
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  isUsingGpuDevice(): boolean;
  createTensor(shape: readonly number[], dtype: number, values: Int32Array | Uint8Array | Float32Array): number;
  deleteTensor(id: number): void;
  executeOp(name: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): Metadata[];
  tensorDataSync(id: number): Float32Array;
  /** Makes a function of a GraphDef, with the graph's tensors that are put in and taken out, as in `node` and `node:1`. */
  addFunction(name: string, graph: Uint8Array, inputs: readonly string[], outputs: readonly string[]): void;
  removeFunction(name: string): void;
  runFunction(name: string, inputs: Int32Array, outputs: number, compiled: boolean): Metadata[];
  /** Makes machine code of a function by XLA, for inputs like these, on another thread, by a run whose results are dropped. */
  compileFunction(name: string, inputs: Int32Array, outputs: number): Promise<void>;
  /** Whether float32 products and convolutions may be computed in TF32, where a GPU has it. */
  allowTf32(allowed: boolean): void;
}

/** What tfjs-node keeps of each tensor; `values` are those that were not yet handed to TensorFlow. */
export interface TensorRecord {
  shape: number[];
  dtype: number;
  id: number;
  values: unknown;
  refCount: number;
}

/** What is used here of tfjs-node's backend. */
export interface TfjsNodeBackend extends tf.KernelBackend {
  readonly binding: Binding;
  readonly tensorMap: { has(dataId: object): boolean; get(dataId: object): TensorRecord; set(dataId: object, record: TensorRecord): void };
  createOutputTensor(metadata: Metadata): tf.Tensor;
  getInputTensorIds(tensors: tf.Tensor[]): number[];
  executeSingleOutput(name: string, attributes: Attribute[], inputs: tf.Tensor[]): tf.Tensor;
  executeMultipleOutputs(name: string, attributes: Attribute[], inputs: tf.Tensor[], outputs: number): tf.Tensor[];
  move(dataId: object, values: tf.BackendValues, shape: number[], dtype: tf.DataType, refCount: number): void;
}

/** The backend as it runs here, see lazy_shapes.ts. */
export interface NativeBackend extends TfjsNodeBackend {
  /** As `getInputTensorIds`, of one tensor as another type, which is kept as long as the tensor is: for weights. */
  getIdAs(tensor: tf.Tensor, dtype: number): number;
}

/** A tfjs tensor around one of TensorFlow, whichever backend is the current one, of its shape or another. Halves are float32 by its word. */
export function makeTensor(backend: NativeBackend, { id, shape: lies, dtype }: Metadata, shape = lies): tf.Tensor {
  const dataId = {};
  backend.tensorMap.set(dataId, { shape: lies, dtype, id, values: null, refCount: 1 });
  return tf.engine().makeTensorFromTensorInfo({ dataId, shape, dtype: 'float32' }, backend);
}

/** The ops below tfjs's kernels that are needed here, on TensorFlow's own tensors (ids, which the caller deletes). */
export class Ops {
  constructor(private readonly backend: NativeBackend) {}

  /** Asked for anew each time: a recording puts another in its place. */
  private get binding(): Binding {
    return this.backend.binding;
  }

  cast(x: number, from: number, to: number): number {
    return this.run('Cast', [this.type('SrcT', from), this.type('DstT', to), { name: 'Truncate', type: this.binding.TF_ATTR_BOOL, value: false }], [x]);
  }

  /** The same bytes as elements of another type: uint8 `[..., size]` -> `[...]`. */
  bitcast(x: number, from: number, to: number): number {
    return this.run('Bitcast', [this.type('T', from), this.type('type', to)], [x]);
  }

  reshape(x: number, dtype: number, shape: readonly number[]): number {
    return this.withInts(shape, to => this.run('Reshape', [this.type('T', dtype), this.type('Tshape', TF.INT32)], [x, to]));
  }

  transpose(x: number, dtype: number, axes: readonly number[]): number {
    return this.withInts(axes, by => this.run('Transpose', [this.type('T', dtype), this.type('Tperm', TF.INT32)], [x, by]));
  }

  /** The bytes of a file, mapped, not read: `[size]`. CPU only. */
  mapFile(path: string, size: number): number {
    const { TF_ATTR_SHAPE, TF_ATTR_STRING } = this.binding;
    return this.run('ImmutableConst', [
      this.type('dtype', TF.UINT8), { name: 'shape', type: TF_ATTR_SHAPE, value: [size] }, { name: 'memory_region_name', type: TF_ATTR_STRING, value: path },
    ], []);
  }

  /** `length` bytes from `offset` on: a view where the offset is a multiple of 64, else a copy. */
  sliceBytes(bytes: number, offset: number, length: number): number {
    const [begin, size] = [offset, length].map(value =>
      this.binding.createTensor([1], TF.INT64, new Int32Array([value % 2 ** 32 | 0, Math.floor(value / 2 ** 32)])));
    try {
      return this.run('Slice', [this.type('T', TF.UINT8), this.type('Index', TF.INT64)], [bytes, begin, size]);
    } finally {
      [begin, size].forEach(id => this.binding.deleteTensor(id));
    }
  }

  /** Takes `id` over: deletes it after `use`. */
  using<T>(id: number, use: (id: number) => T): T {
    try {
      return use(id);
    } finally {
      this.binding.deleteTensor(id);
    }
  }

  private run(op: string, attributes: Attribute[], inputs: number[]): number {
    return this.binding.executeOp(op, attributes, inputs, 1)[0].id;
  }

  private type(name: string, value: number): Attribute {
    return { name, type: this.binding.TF_ATTR_TYPE, value };
  }

  private withInts(values: readonly number[], use: (id: number) => number): number {
    return this.using(this.binding.createTensor([values.length], TF.INT32, Int32Array.from(values)), use);
  }
}
