import * as tf from '@tensorflow/tfjs';
import type { Precision } from '../../core/precision.js';
import { flag, isHalf, KIND, TF, type, type Attribute, type Binding, type Metadata, type Values } from './binding.js';
import type { EagerContext } from './eager_context.js';
import { takesAsTheyLie } from './lazy_shapes.js';
import { Scope } from './scope.js';
import { same, TensorData, type Shape } from './tensor_data.js';

/** How tfjs calls TensorFlow's types. It has no smaller floats: halves are float32 by its word. */
const DTYPES: Readonly<Record<number, tf.DataType>> = {
  [TF.FLOAT]: 'float32', [TF.HALF]: 'float32', [TF.BFLOAT16]: 'float32', [TF.INT32]: 'int32', [TF.INT64]: 'int32', [TF.UINT8]: 'int32',
  [TF.BOOL]: 'bool', [TF.COMPLEX64]: 'complex64', [TF.STRING]: 'string', [TF.RESOURCE]: 'string',
};
const TF_TYPES = { float32: TF.FLOAT, int32: TF.INT32, bool: TF.BOOL, complex64: TF.COMPLEX64, string: TF.STRING };

/** Types that stay what their attribute says, whatever the inputs are: FusedBatchNorm's statistics, and what Cast makes. */
const FIXED_TYPES = ['U', 'DstT'];

type Activation = 'linear' | 'relu' | 'prelu' | 'leakyrelu' | 'elu' | 'sigmoid' | 'relu6';

/**
 * tfjs's backend 'tensorflow': tensors of tfjs over those of TensorFlow's eager context. tfjs-node's kernels run on it as on its own
 * backend, and so do ours. It has what that has not:
 * - Shapes are lazy: a tensor may lie in another shape than it has (lazy_shapes.ts).
 * - Halves: float16 and bfloat16 flow behind tensors that say float32. An op with a half input takes all its float inputs as halves and
 *   gives halves; `widen` makes true float32; values are read as float32.
 * - A recorder in its context hears of everything (recording.ts).
 */
export class NativeBackend extends tf.KernelBackend implements Precision {
  /** As tfjs-node's kernels ask for it. */
  readonly isGPUPackage = true;
  private tensors = 0;
  /** Of tensors whose data id another backend made. */
  private readonly moved = new WeakMap<object, TensorData>();

  constructor(readonly context: EagerContext) {
    super();
  }

  /** For tfjs-node's kernels, which take constants from it. */
  get binding(): Binding {
    return this.context.binding;
  }

  get onGpu(): boolean {
    return this.binding.isUsingGpuDevice();
  }

  // Tensors

  /** What lies behind a tensor of tfjs; it comes here if it is on another backend. */
  dataOf(dataId: object): TensorData {
    const data = this.find(dataId);
    if (data?.isHere) return data;
    tf.engine().moveData(this, dataId);
    return this.find(dataId)!;
  }

  /** A tensor of tfjs around one of TensorFlow, which it takes over; of its shape or another. */
  make({ id, shape: lies, dtype }: Metadata, shape: Shape = lies): tf.Tensor {
    if (!(dtype in DTYPES)) throw new Error(`an op gives the type ${dtype}, which tfjs does not know`);
    const dataId = new TensorData(lies, dtype, id);
    this.tensors++;
    return tf.engine().makeTensorFromTensorInfo({ dataId, shape: shape as number[], dtype: DTYPES[dtype] }, this);
  }

  /** What `work` computes, as a tensor of tfjs, of its shape or another. */
  compute(work: (scope: Scope) => Metadata, shape?: Shape): tf.Tensor {
    return this.make(Scope.run(this.context, work), shape);
  }

  /** TensorFlow's tensor behind `x`, in its shape and type or others. It stays the data's: made once and kept as long as that. */
  lend(x: tf.TensorInfo, shape: Shape = x.shape, dtype?: number): Metadata {
    const data = this.dataOf(x.dataId);
    return { id: this.idOf(data, shape, dtype ?? data.dtype), shape: shape as number[], dtype: dtype ?? data.dtype };
  }

  /** As `lend`, in the shape in which it lies. */
  lendAsItLies(x: tf.TensorInfo): Metadata {
    return this.lend(x, this.dataOf(x.dataId).shape);
  }

  private find(dataId: object): TensorData | undefined {
    return dataId instanceof TensorData ? dataId : this.moved.get(dataId);
  }

  private idOf(data: TensorData, shape: Shape, dtype: number): number {
    const { context } = this;
    if (dtype === data.dtype && same(shape, data.shape)) {
      if (data.values !== null) {
        data.id = context.upload(data.shape, dtype, data.values);
        data.values = null;
      }
      context.recorder?.used(data, data.id);
      return data.id;
    }
    if (data.viewsFor !== context.recorder) this.freeViews(data);
    data.viewsFor = context.recorder;
    const known = data.views.find(view => view.dtype === dtype && same(view.shape, shape));
    if (known) return known.id;
    const { id } = Scope.run(context, scope => dtype !== data.dtype
      ? scope.cast({ id: this.idOf(data, shape, data.dtype), shape: [], dtype: data.dtype }, dtype)
      : scope.reshape({ id: this.idOf(data, data.shape, dtype), shape: [], dtype }, shape));
    data.views.push({ id, shape, dtype });
    return id;
  }

  private freeViews(data: TensorData): void {
    for (const { id } of data.views) this.context.free(id);
    data.views.length = 0;
  }

  // What tfjs asks of every backend

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): TensorData {
    const data = new TensorData();
    this.move(data, values, shape, dtype, 1);
    return data;
  }

  override move(dataId: object, values: tf.BackendValues, shape: number[], dtype: tf.DataType, refCount: number): void {
    const data = this.find(dataId) ?? new TensorData();
    if (data !== dataId) this.moved.set(dataId, data);
    data.hold(shape, this.getDTypeInteger(dtype), values as Values, refCount);
    this.tensors++;
    this.context.recorder?.wrote(data);
  }

  override read(dataId: object): Promise<tf.BackendValues> {
    return Promise.resolve(this.readSync(dataId));
  }

  override readSync(dataId: object): tf.BackendValues {
    const { id, values, dtype, shape } = this.dataOf(dataId);
    if (values !== null) return values;
    if (!isHalf(dtype)) return this.context.read(id);
    const wide = Scope.run(this.context, scope => scope.cast({ id, shape, dtype }, TF.FLOAT));
    try {
      return this.context.read(wide.id);
    } finally {
      this.context.free(wide.id);
    }
  }

  override incRef(dataId: object): void {
    this.dataOf(dataId).refCount++;
  }

  override refCount(dataId: object): number {
    return this.find(dataId)?.refCount ?? 0;
  }

  /** Whether nothing is left of it. */
  override disposeData(dataId: object, force = false): boolean {
    const data = this.find(dataId);
    if (!data?.isHere) return true;
    if (--data.refCount > 0 && !force) return false;
    data.refCount = 0;
    if (data.views.length > 0) this.freeViews(data);
    if (data.values === null) this.context.free(data.id);
    data.values = null;
    this.tensors--;
    return true;
  }

  override numDataIds(): number {
    return this.tensors;
  }

  override memory(): { unreliable: boolean } {
    return { unreliable: true }; // as tfjs-node
  }

  override async time(work: () => void): Promise<tf.BackendTimingInfo> {
    const start = performance.now();
    work();
    return Promise.resolve({ kernelMs: performance.now() - start });
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override dispose(): void {
    // the process's end frees all
  }

  // Halves, see core/precision.ts

  widen(x: tf.Tensor): tf.Tensor {
    return isHalf(this.dataOf(x.dataId).dtype) ? this.convert(x, TF.FLOAT) : x;
  }

  narrow(x: tf.Tensor, like: tf.Tensor): tf.Tensor {
    const { dtype } = this.dataOf(like.dataId);
    return isHalf(dtype) && this.dataOf(x.dataId).dtype !== dtype ? this.convert(x, dtype) : x;
  }

  private convert(x: tf.Tensor, dtype: number): tf.Tensor {
    return this.compute(scope => scope.cast(this.lendAsItLies(x), dtype), x.shape);
  }

  // What tfjs-node's kernels ask of their backend

  executeSingleInput(op: string, input: tf.TensorInfo): tf.Tensor {
    return this.execute(op, [type('T', this.getDTypeInteger(input.dtype))], [input], 1)[0];
  }

  executeSingleOutput(op: string, attributes: Attribute[], inputs: tf.TensorInfo[]): tf.Tensor {
    return this.execute(op, attributes, inputs, 1)[0];
  }

  executeMultipleOutputs(op: string, attributes: Attribute[], inputs: tf.TensorInfo[], outputs: number): tf.Tensor[] {
    return this.execute(op, attributes, inputs, outputs);
  }

  createReductionOpAttrs({ dtype }: tf.TensorInfo, keepDims = false): Attribute[] {
    return [flag('keep_dims', keepDims), type('T', this.getDTypeInteger(dtype)), type('Tidx', TF.INT32)];
  }

  getDTypeInteger(dtype: tf.DataType): number {
    return TF_TYPES[dtype];
  }

  applyActivation(x: tf.Tensor, activation?: Activation, weights?: tf.Tensor, alpha?: number): tf.Tensor {
    if (activation === undefined || activation === 'linear') return x;
    if (activation === 'prelu') return tf.prelu(x, weights!);
    return activation === 'leakyrelu' ? tf.leakyRelu(x, alpha) : tf[activation](x);
  }

  private execute(op: string, attributes: Attribute[], inputs: tf.TensorInfo[], outputs: number): tf.Tensor[] {
    let half: number | undefined;
    let lie = true; // in their shapes
    const datas = inputs.map(({ dataId, shape }) => {
      const data = this.dataOf(dataId);
      if (isHalf(data.dtype)) half ??= data.dtype;
      lie &&= same(data.shape, shape);
      return data;
    });
    const meant = lie ? undefined : takesAsTheyLie(op, datas.map(({ shape: lies, dtype }, i) => ({ shape: inputs[i].shape, lies, dtype })));
    const ids = datas.map((data, i) => {
      const { shape } = inputs[i];
      const narrows = half !== undefined && (data.dtype === TF.FLOAT || isHalf(data.dtype));
      return this.idOf(data, meant && shape.length > 0 ? data.shape : shape, narrows ? half! : data.dtype);
    });
    const typed = half === undefined ? attributes : attributes.map(each => saysFloat(each) ? { ...each, value: half } : each);
    return this.context.run(op, typed, ids, outputs).map(made => this.make(made, meant?.(made.shape)));
  }
}

/** Whether it is the type of float32 inputs, which may be halves. */
function saysFloat({ name, type, value }: Attribute): boolean {
  return type === KIND.TYPE && value === TF.FLOAT && !FIXED_TYPES.includes(name);
}
