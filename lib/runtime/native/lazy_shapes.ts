import type * as tf from '@tensorflow/tfjs';
import { makeTensor, Ops, TF, type Binding, type NativeBackend, type TfjsNodeBackend } from './backend.js';

export type BackendClass = new (binding: Binding, packageName: string) => TfjsNodeBackend;
type Shape = number[];

/** When an op may take its inputs as they lie, and what shape is then meant by its output. Numbers, which go with any shape, are no inputs here. */
interface Rule {
  allows(meant: Shape[], lying: Shape[]): boolean;
  output(meant: Shape[], lies: Shape): Shape;
}

const ELEMENTS: Rule = { allows: (meant, lying) => [meant, lying].every(shapes => shapes.every(shape => same(shape, shapes[0]))), output: ([shape]) => shape };
const ROWS: Rule = { allows: ([meant], [lying]) => same(meant.slice(-1), lying.slice(-1)), output: ([shape]) => shape };
const MATRICES: Rule = {
  allows: (meant, lying) => [meant, lying].every(([a, b]) => same(a.slice(0, -2), b.slice(0, -2))) && meant.every((shape, i) => same(shape.slice(-2), lying[i].slice(-2))),
  output: ([shape], lies) => [...shape.slice(0, -2), ...lies.slice(-2)],
};
const RULES: Record<string, Rule | undefined> = {
  ...Object.fromEntries(['Add', 'Erf', 'Mul', 'RealDiv', 'Sigmoid', 'SoftplusGrad', 'Square', 'Sub'].map(name => [name, ELEMENTS])),
  Softmax: ROWS, _MklSoftmax: ROWS, BatchMatMulV2: MATRICES,
};
const FLOATS: readonly number[] = [TF.FLOAT, TF.HALF, TF.BFLOAT16];

/**
 * tfjs-node's backend, but that a reshape is no op: tensors of several shapes share one of TensorFlow's, which lies in one of these, as on tfjs's
 * other backends. An op that needs another one gets it by a Reshape, made once; one that does not mind takes its inputs as they lie.
 */
export function withLazyShapes(Base: BackendClass): new (...args: ConstructorParameters<BackendClass>) => NativeBackend {
  return class extends Base implements NativeBackend {
    /** TensorFlow's tensors in other shapes and types. Those that another binding made do not count: a recording must see them made. */
    private readonly views = new WeakMap<object, { madeBy: Binding; ids: Map<string, number> }>();
    private readonly ops = new Ops(this);

    override getInputTensorIds(tensors: tf.Tensor[]): number[] {
      return tensors.map(tensor => lies(this, tensor) ? super.getInputTensorIds([tensor])[0] : this.view(tensor));
    }

    override disposeData(dataId: object, force?: boolean): boolean {
      const gone = super.disposeData(dataId, force);
      if (gone) this.forgetViews(dataId);
      return gone;
    }

    getIdAs(tensor: tf.Tensor, dtype: number): number {
      const { dtype: own } = this.tensorMap.get(tensor.dataId);
      if (dtype === own) return this.getInputTensorIds([tensor])[0];
      return this.kept(tensor, `${dtype} ${tensor.shape.join()}`, () => this.ops.cast(this.getInputTensorIds([tensor])[0], own, dtype));
    }

    private view(tensor: tf.Tensor): number {
      const { dataId, shape } = tensor;
      return this.kept(tensor, shape.join(), () => this.ops.reshape(this.getInputTensorIds([asItLies(this, tensor)])[0], this.tensorMap.get(dataId).dtype, shape));
    }

    /** What is made of a tensor, once. */
    private kept({ dataId }: tf.Tensor, key: string, make: () => number): number {
      if (this.views.get(dataId)?.madeBy !== this.binding) this.forgetViews(dataId);
      const { ids } = this.views.get(dataId) ?? { ids: new Map<string, number>() };
      this.views.set(dataId, { madeBy: this.binding, ids });
      const id = ids.get(key) ?? make();
      ids.set(key, id);
      return id;
    }

    private forgetViews(dataId: object): void {
      this.views.get(dataId)?.ids.forEach(id => this.binding.deleteTensor(id));
      this.views.delete(dataId);
    }
  };
}

/** With which inputs to run an op, and what shape is meant by that in which its output lies, where it is another. */
export function layOut(backend: NativeBackend, op: string, inputs: tf.Tensor[]): { inputs: tf.Tensor[]; output?: (lies: Shape) => Shape } {
  const rule = RULES[op];
  if (!rule) return { inputs };
  const shaped = inputs.filter(({ shape }) => shape.length > 0);
  if (shaped.some(x => !lies(backend, x)) && shaped.every(x => FLOATS.includes(backend.tensorMap.get(x.dataId).dtype))) {
    const meant = shaped.map(x => x.shape);
    if (rule.allows(meant, shaped.map(x => asItLies(backend, x).shape))) {
      return { inputs: inputs.map(x => shaped.includes(x) ? asItLies(backend, x) : x), output: shape => rule.output(meant, shape) };
    }
  }
  return { inputs };
}

/** A tensor that lies in the shape that `x` has, for which TensorFlow's own is handed out. The caller disposes it. */
export function settle(backend: NativeBackend, x: tf.Tensor): tf.Tensor {
  if (lies(backend, x)) return x.clone();
  const [id] = backend.getInputTensorIds([asItLies(backend, x)]);
  const { dtype } = backend.tensorMap.get(x.dataId);
  return makeTensor(backend, { id: new Ops(backend).reshape(id, dtype, x.shape), shape: x.shape, dtype });
}

/** `x` in the shape in which TensorFlow has it. */
export function asItLies({ tensorMap }: TfjsNodeBackend, { dataId, dtype }: tf.Tensor): tf.Tensor {
  return { dataId, dtype, shape: tensorMap.get(dataId).shape } as tf.Tensor;
}

function lies({ tensorMap }: TfjsNodeBackend, { dataId, shape }: tf.Tensor): boolean {
  return same(tensorMap.get(dataId).shape, shape);
}

function same(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}
