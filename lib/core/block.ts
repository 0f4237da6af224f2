import * as tf from '@tensorflow/tfjs';
import { checkInteger } from './checks.js';
import type { FloatDtype } from './float16.js';
import { canCompile } from './graph.js';
import { packings, type Operand } from './packed_tensor.js';
import { Parameter, type LayerVariable, type ParameterChange, type ParameterLayout, type ParameterSpec } from './parameter.js';
import { widen } from './precision.js';
import { timed } from './profile.js';
import type { StoredValue } from './stored_value.js';

type Initializer = Parameters<tf.layers.Layer['addWeight']>[3];

/**
 * A `tf.layers.Layer` with named children, so that a parameter's path (`down_blocks.0.resnets.0.conv1.weight`) is its key in a checkpoint.
 *
 * Parameters are declared by the constructor and allocated once: by `setParameter` (loading), or at first use with a fresh initial value. A
 * value may be stored in another form than the one that is used (`storeParameter`), and have a change on top of it, which leaves it as it
 * is (`changeParameter`). A layer states what it computes in `compute`, once and typed. Layers call each other's `forward`; `apply` is for
 * composing with other tf.layers.
 * The only file that touches the internals of tf.layers.
 */
export abstract class Block extends tf.layers.Layer {
  private readonly parameters = new Map<string, Parameter>();
  private readonly children = new Map<string, Block>();
  private releasing = false;
  private holding = false;
  private disposed = false;

  /** Whether it was disposed, and cannot run any more. */
  get isDisposed(): boolean {
    return this.disposed;
  }

  /** The computation itself. Tensors that it makes on the way are freed for it; only `forward` calls it. */
  abstract compute(...inputs: unknown[]): tf.TensorContainer;

  /** Runs the layer: takes and gives what its `compute` does. Callers dispose what it returns; it leaves no other tensor behind. */
  forward(...inputs: Parameters<this['compute']>): ReturnType<this['compute']> {
    return timed(this, () => tf.tidy(() => this.compute(...inputs))) as ReturnType<this['compute']>;
  }

  /** Adopts a child under `name`, which may hold dots: its parameters' paths begin with it. */
  protected add<T extends Block>(name: string, child: T): T {
    if (this.children.has(name)) throw new Error(`${this.constructor.name}: has a child '${name}' already`);
    this.children.set(name, child);
    if (this.releasing) child.releaseAfterUse(true);
    if (this.holding) child.holdValues(true);
    return child;
  }

  /** Lets go of the child of that name, and disposes it. */
  protected drop(name: string): void {
    this.children.get(name)!.dispose();
    this.children.delete(name);
  }

  /** Adopts `count` children as `name.0`, `name.1`, ... */
  protected addList<T extends Block>(name: string, count: number, make: (index: number) => T): T[] {
    checkInteger(`${this.constructor.name}: number of ${name}`, count, 0, 1000);
    return Array.from({ length: count }, (_, index) => this.add(`${name}.${index}`, make(index)));
  }

  /** Declares a parameter, without allocating it. */
  protected addParameter(name: string, shape: readonly number[], layout: ParameterLayout = 'plain'): void {
    this.parameters.set(name, new Parameter({ shape, layout }, spec => initialValue(name, spec), {
      hold: (make, shape) => this.hold(name, make, shape),
      free: variable => this.free(name, variable),
    }));
  }

  /** Whether there is an own parameter of that name: a layer without a bias can get one. */
  protected has(name: string): boolean {
    return this.parameters.has(name);
  }

  /** Gives an own parameter a value of whatever shape, which is its shape from now on. Takes ownership of the tensor. */
  protected redeclareParameter(name: string, value: tf.Tensor): void {
    this.parameters.get(name)!.set(value);
  }

  /** The value of an own parameter, initialised if it has none yet: for `compute`, which must not dispose it. */
  protected parameter(name: string): tf.Tensor {
    const parameter = this.parameters.get(name)!;
    return this.holding && canCompile() ? parameter.get() : parameter.use(!this.releasing);
  }

  /** As `parameter`, or as it lies packed, for kernels that take it so; `unpacked` makes a tensor of either. */
  protected operand(name: string): Operand {
    return packings.current ? this.parameters.get(name)!.operand(!this.releasing) : this.parameter(name);
  }

  /** Hook: the value of a parameter below is about to change, or to be somewhere else. */
  protected valuesChange(): void { /* who depends on it says so */ }

  /** Every parameter below this block, by path, whether allocated or not. */
  parameterSpecs(): Map<string, ParameterSpec> {
    return new Map([...this.namedParameters()].map(([path, parameter]) => [path, parameter.spec]));
  }

  /** Every parameter by path: live values, not copies. Initialises what has no value yet. */
  stateDict(): Record<string, tf.Tensor> {
    return Object.fromEntries([...this.namedParameters()].map(([path, parameter]) => [path, parameter.get()]));
  }

  /** The parameter at `path`: the live value, not a copy. @throws RangeError if there is no such parameter. */
  getParameter(path: string): tf.Tensor {
    return this.findParameter(path).get();
  }

  /**
   * The numbers of the parameter at `path` as they are used, float32 and in our layout, from wherever they are. Nothing changes its place.
   * @throws RangeError if there is no such parameter.
   */
  async readParameter(path: string): Promise<Float32Array> {
    const value = tf.tidy(() => widen(this.findParameter(path).peek()));
    try {
      return await value.data<'float32'>();
    } finally {
      value.dispose();
    }
  }

  /** This block and every block below it. */
  *descendants(): Generator<Block> {
    for (const [, block] of this.namedDescendants()) yield block;
  }

  /** This block and every block below it, each with its path, which begins with this block's. */
  *namedDescendants(path = ''): Generator<[string, Block]> {
    yield [path, this];
    for (const [name, child] of this.children) yield* child.namedDescendants(path ? `${path}.${name}` : name);
  }

  /**
   * Gives the parameter at `path` a value in our layout, perhaps packed, and takes ownership of the tensor, without a copy.
   * @param stored where the same value can be had again, so that it may be released.
   * @throws RangeError if there is no such parameter or the shape does not fit.
   */
  setParameter(path: string, value: Operand, stored?: StoredValue): void {
    this.valuesChange();
    const parameter = this.findParameter(path);
    const { shape } = parameter.spec;
    if (!tf.util.arraysEqual([...shape], [...value.shape])) {
      throw new RangeError(`${path}: got shape [${value.shape.join(', ')}], takes [${shape.join(', ')}]`);
    }
    parameter.set(value, stored);
  }

  /** Gives the parameter at `path` a value that is stored in another form, and that comes to the device when it is used. */
  storeParameter(path: string, stored: StoredValue): void {
    this.valuesChange();
    this.findParameter(path).store(stored);
  }

  /**
   * Puts a change on top of the parameter at `path`, in the place of an earlier one, or takes it off. The unchanged value stays stored. A
   * layer without a bias has one of zeros for as long as that is changed.
   */
  changeParameter(path: string, change?: ParameterChange): void {
    this.valuesChange();
    const [block, name] = this.find(path);
    const weight = block.parameters.get('weight');
    if (name === 'bias' && !block.has(name) && weight) block.lendBias(weight.spec.shape.at(-1)!);
    const parameter = this.findParameter(path);
    if (change || !parameter.lent) {
      parameter.changeBy(change);
    } else {
      parameter.release();
      block.parameters.delete(name);
    }
  }

  /** Makes all changes of parameters last. */
  mergeChanges(): void {
    for (const [, parameter] of this.namedParameters()) parameter.merge();
  }

  /** Whether the parameter at `path` holds a value on the device now: loaded or made, and not released. */
  isAllocated(path: string): boolean {
    return this.findParameter(path).isAllocated;
  }

  /** Bytes that all values take for good, where a number of their type takes `width`: those in fewer bits take fewer. */
  protected bytesOfValues(width: number): number {
    return [...this.namedParameters()].reduce((sum, [, parameter]) => sum + parameter.numBytes(width), 0);
  }

  /** Frees every value on the device that is stored elsewhere as well: it comes back when it is next used. */
  release(): void {
    this.valuesChange();
    for (const [, parameter] of this.namedParameters()) parameter.release();
  }

  /** As `release`, but for all values: one that is stored nowhere else is copied to host memory before. */
  async offload(): Promise<void> {
    for (const [, parameter] of this.namedParameters()) await parameter.secure();
    this.release();
  }

  /** Brings the values to the current backend and frees them on the former one; backends that store halves in another form take `dtype`. */
  async move(dtype: FloatDtype = 'float32'): Promise<void> {
    this.valuesChange();
    for (const [, parameter] of this.namedParameters()) await parameter.move(dtype);
  }

  /** Whether values are released after use. */
  protected get releasesAfterUse(): boolean {
    return this.releasing;
  }

  /**
   * Whether each layer has its values on the device only while it runs, so that hardly more than one layer's values are there at a time.
   */
  releaseAfterUse(release: boolean): void {
    for (const block of this.descendants()) block.releasing = release;
  }

  /** Whether values stay on the device once they are used, whatever they are stored as: for graphs, which take them again and again. */
  protected holdValues(hold: boolean): void {
    for (const block of this.descendants()) block.holding = hold;
  }

  /** For tf.layers: `apply(x)` and `apply([x, y])` become `forward(x)` and `forward(x, y)`. */
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return this.forward(...(Array.isArray(inputs) ? inputs : [inputs]) as Parameters<this['compute']>) as tf.Tensor;
  }

  /** Same shape as the (first) input, unless a layer says otherwise. */
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return Array.isArray(inputShape[0]) ? inputShape[0] as tf.Shape : inputShape;
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    this.stateDict();
    super.build(inputShape);
  }

  override get trainableWeights(): LayerVariable[] {
    return [...super.trainableWeights, ...this.childList().flatMap(child => child.trainableWeights)];
  }

  override get nonTrainableWeights(): LayerVariable[] {
    return [...super.nonTrainableWeights, ...this.childList().flatMap(child => child.nonTrainableWeights)];
  }

  override get trainable(): boolean {
    return super.trainable;
  }

  override set trainable(trainable: boolean) {
    super.trainable = trainable;
    this.childList().forEach(child => { child.trainable = trainable; });
  }

  /** Frees the parameters of this block and of all below it. */
  override dispose(): ReturnType<tf.layers.Layer['dispose']> {
    let numDisposedVariables = 0;
    for (const parameter of this.parameters.values()) {
      if (parameter.isAllocated) numDisposedVariables++;
      parameter.dispose();
    }
    this.disposed = true;
    for (const child of this.childList()) numDisposedVariables += child.dispose().numDisposedVariables;
    return { refCountAfterDispose: 0, numDisposedVariables };
  }

  /** Every parameter with its path, in order of declaration. */
  private *namedParameters(prefix = ''): Generator<[string, Parameter]> {
    for (const [name, parameter] of this.parameters) yield [prefix + name, parameter];
    for (const [name, child] of this.children) yield* child.namedParameters(`${prefix}${name}.`);
  }

  /** The block whose parameter would be at `path`, and its name there. */
  private find(path: string): [Block, string] {
    for (const [name, child] of this.children) {
      if (path.startsWith(`${name}.`)) return child.find(path.slice(name.length + 1));
    }
    return [this, path];
  }

  private findParameter(path: string): Parameter {
    const [block, name] = this.find(path);
    const parameter = block.parameters.get(name);
    if (!parameter) throw new RangeError(`${this.constructor.name}: has no parameter '${path}'`);
    return parameter;
  }

  private lendBias(size: number): void {
    this.addParameter('bias', [size]);
    const bias = this.parameters.get('bias')!;
    bias.store({ read: () => tf.zeros([size]) });
    bias.lent = true;
  }

  private childList(): Block[] {
    return this.children ? [...this.children.values()] : []; // the base constructor runs before our fields exist
  }

  /** addWeight calls the initializer once and keeps what it returns, so that no second copy is ever allocated. */
  private hold(name: string, make: () => tf.Tensor, shape: readonly number[]): LayerVariable {
    if (this.disposed) throw new Error(`${this.constructor.name}: was disposed`);
    const value = make();
    const initializer = { apply: () => value } as unknown as Initializer;
    return this.addWeight(name, [...shape], 'float32', initializer, undefined, this.trainable, undefined, () => initializer);
  }

  /** As if the parameter had no value yet, also for tf.layers, which takes no name twice. */
  private free(name: string, variable: LayerVariable): void {
    const layer = this as unknown as {
      _trainableWeights: LayerVariable[];
      _nonTrainableWeights: LayerVariable[];
      _addedWeightNames: string[];
    };
    layer._trainableWeights = layer._trainableWeights.filter(each => each !== variable);
    layer._nonTrainableWeights = layer._nonTrainableWeights.filter(each => each !== variable);
    layer._addedWeightNames = layer._addedWeightNames.filter(each => each !== name);
    variable.dispose();
  }
}

/** As torch begins: norms with 1, biases with 0, matrices and kernels as its Linear and Conv2d. */
function initialValue(name: string, { shape, layout }: ParameterSpec): tf.Tensor {
  if (layout === 'plain') return name === 'weight' && shape.length === 1 ? tf.ones([...shape]) : tf.zeros([...shape]);
  const fanIn = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  return tf.randomUniform([...shape], -1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn));
}
