import * as tf from '@tensorflow/tfjs';
import { checkInteger } from './checks.js';
import type { TensorSource } from './host_copy.js';
import { timed } from './profile.js';

type LayerVariable = ReturnType<tf.layers.Layer['addWeight']>;
type Initializer = Parameters<tf.layers.Layer['addWeight']>[3];

/**
 * How a parameter lies in a torch checkpoint, relative to ours:
 * - `linear`: ours `[in, out]`, torch's `[out, in]`
 * - `conv`: ours `[height, width, in, out]`, torch's `[out, in, height, width]`
 * - `plain`: the same in both (norms, biases, embeddings)
 */
export type ParameterLayout = 'linear' | 'conv' | 'plain';

/** A declared parameter: `shape` is ours, whatever the checkpoint's layout. */
export interface ParameterSpec {
  readonly shape: readonly number[];
  readonly layout: ParameterLayout;
}

/**
 * A `tf.layers.Layer` with named children, so that a parameter's path (`down_blocks.0.resnets.0.conv1.weight`) is its key in a checkpoint.
 *
 * Parameters are declared by the constructor and allocated once: by `setParameter` (loading), or at first use with a fresh initial value.
 * A layer states what it computes in `compute`, once and typed. Layers call each other's `forward`; `apply` is for those who compose with other
 * tf.layers.
 * The only file that touches the internals of tf.layers.
 */
export abstract class Block extends tf.layers.Layer {
  private readonly specs = new Map<string, ParameterSpec>();
  private readonly variables = new Map<string, LayerVariable>();
  private readonly sources = new Map<string, TensorSource>();
  private readonly children = new Map<string, Block>();
  private releasing = false;
  private disposed = false;

  /** The computation itself. What it makes on the way is freed for it; it is called by `forward` alone. */
  abstract compute(...inputs: unknown[]): tf.TensorContainer;

  /** Runs the layer: takes and gives what its `compute` does. Callers dispose what it returns; it leaves no other tensor behind. */
  forward(...inputs: Parameters<this['compute']>): ReturnType<this['compute']> {
    try {
      return timed(this, () => tf.tidy(() => this.compute(...inputs))) as ReturnType<this['compute']>;
    } finally {
      if (this.releasing) this.releaseOwn();
    }
  }

  /** Adopts a child under `name`, which may hold dots: its parameters' paths begin with it. */
  protected add<T extends Block>(name: string, child: T): T {
    if (this.children.has(name)) throw new Error(`${this.constructor.name}: has a child '${name}' already`);
    this.children.set(name, child);
    return child;
  }

  /** Adopts `count` children as `name.0`, `name.1`, ... */
  protected addList<T extends Block>(name: string, count: number, make: (index: number) => T): T[] {
    checkInteger(`${this.constructor.name}: number of ${name}`, count, 0, 1000);
    return Array.from({ length: count }, (_, index) => this.add(`${name}.${index}`, make(index)));
  }

  /** Declares a parameter, without allocating it. */
  protected addParameter(name: string, shape: readonly number[], layout: ParameterLayout = 'plain'): void {
    this.specs.set(name, { shape, layout });
  }

  /** Whether there is an own parameter of that name: a layer without a bias can get one. */
  protected has(name: string): boolean {
    return this.specs.has(name);
  }

  /** Gives an own parameter a value of whatever shape, which is its shape from now on. Takes ownership of the tensor. */
  protected redeclareParameter(name: string, value: tf.Tensor): void {
    this.free(name);
    this.sources.delete(name);
    this.specs.set(name, { ...this.specs.get(name)!, shape: value.shape });
    this.allocate(name, () => value);
  }

  /** The value of an own parameter, initialised if it has none yet. Owned by the layer: do not dispose. */
  protected parameter(name: string): tf.Tensor {
    return (this.variables.get(name) ?? this.initialize(name)).read();
  }

  /** Every parameter below this block, by path, whether allocated or not. */
  parameterSpecs(): Map<string, ParameterSpec> {
    return new Map(this.locate().map(([path, block, name]) => [path, block.specs.get(name)!]));
  }

  /** Every parameter by path: live values, not copies. Initialises what has no value yet. */
  stateDict(): Record<string, tf.Tensor> {
    return Object.fromEntries(this.locate().map(([path, block, name]) => [path, block.parameter(name)]));
  }

  /** The parameter at `path`: the live value, not a copy. @throws RangeError if there is no such parameter. */
  getParameter(path: string): tf.Tensor {
    const [block, name] = this.find(path);
    return block.parameter(name);
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
   * Gives the parameter at `path` a value in our layout and takes ownership of the tensor, without a copy.
   * @throws RangeError if there is no such parameter or the shape does not fit.
   */
  setParameter(path: string, value: tf.Tensor): void {
    const [block, name] = this.find(path);
    const { shape } = block.specs.get(name)!;
    if (shape.length !== value.shape.length || shape.some((size, axis) => size !== value.shape[axis])) {
      throw new RangeError(`${path}: got shape [${value.shape.join(', ')}], takes [${shape.join(', ')}]`);
    }
    const variable = block.variables.get(name);
    block.sources.delete(name);
    if (variable) {
      variable.write(value);
      value.dispose();
    } else {
      block.allocate(name, () => value);
    }
  }

  /** Gives the layer whose weight is at `path`, and which has no bias, one of zeros. */
  addBias(path: string): void {
    const [block, name] = this.find(path);
    block.addParameter('bias', [block.specs.get(name)!.shape.at(-1)!]);
  }

  /** Takes away what addBias gave. */
  removeParameter(path: string): void {
    const [block, name] = this.find(path);
    block.free(name);
    block.sources.delete(name);
    block.specs.delete(name);
  }

  /** Says where the value of the parameter at `path` can be had again, so that it may be released. A new value forgets it. */
  setSource(path: string, source: TensorSource): void {
    const [block, name] = this.find(path);
    block.sources.set(name, source);
  }

  /** Where the value of the parameter at `path` can be had again, if that was said. */
  getSource(path: string): TensorSource | undefined {
    const [block, name] = this.find(path);
    return block.sources.get(name);
  }

  /** Whether the parameter at `path` holds a value now: loaded or made, and not released. */
  isAllocated(path: string): boolean {
    const [block, name] = this.find(path);
    return block.variables.has(name);
  }

  /** Frees every value below this block that has a source: it is made again when it is next used. */
  release(): void {
    for (const block of this.descendants()) block.releaseOwn();
  }

  /** Whether each layer releases its parameters as soon as it has run: then hardly more than one layer's are there at a time. */
  releaseAfterUse(release: boolean): void {
    for (const block of this.descendants()) block.releasing = release;
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
    let numDisposedVariables = this.variables.size;
    this.variables.forEach(variable => variable.dispose());
    this.variables.clear();
    this.sources.clear();
    this.disposed = true;
    for (const child of this.childList()) numDisposedVariables += child.dispose().numDisposedVariables;
    return { refCountAfterDispose: 0, numDisposedVariables };
  }

  /** [path, owner, name in the owner] of every parameter, in order of declaration. */
  private locate(prefix = ''): Array<[string, Block, string]> {
    const own = [...this.specs.keys()].map(name => [prefix + name, this, name] as [string, Block, string]);
    return [...own, ...[...this.children].flatMap(([name, child]) => child.locate(`${prefix}${name}.`))];
  }

  private find(path: string): [Block, string] {
    if (this.specs.has(path)) return [this, path];
    for (const [name, child] of this.children) {
      if (path.startsWith(`${name}.`)) return child.find(path.slice(name.length + 1));
    }
    throw new RangeError(`${this.constructor.name}: has no parameter '${path}'`);
  }

  private childList(): Block[] {
    return this.children ? [...this.children.values()] : []; // the base constructor runs before our fields exist
  }

  private releaseOwn(): void {
    for (const name of this.sources.keys()) this.free(name);
  }

  /** As if the parameter had no value yet, also for tf.layers, which takes no name twice. */
  private free(name: string): void {
    const variable = this.variables.get(name);
    if (!variable) return;
    const layer = this as unknown as { _trainableWeights: LayerVariable[]; _nonTrainableWeights: LayerVariable[]; _addedWeightNames: string[] };
    layer._trainableWeights = layer._trainableWeights.filter(each => each !== variable);
    layer._nonTrainableWeights = layer._nonTrainableWeights.filter(each => each !== variable);
    layer._addedWeightNames = layer._addedWeightNames.filter(each => each !== name);
    this.variables.delete(name);
    variable.dispose();
  }

  private initialize(name: string): LayerVariable {
    const source = this.sources.get(name);
    if (source) return this.allocate(name, source);
    const { shape, layout } = this.specs.get(name)!;
    return this.allocate(name, () => {
      if (layout === 'plain') return name === 'weight' && shape.length === 1 ? tf.ones([...shape]) : tf.zeros([...shape]);
      const fanIn = shape.slice(0, -1).reduce((product, size) => product * size, 1);
      return tf.randomUniform([...shape], -1 / Math.sqrt(fanIn), 1 / Math.sqrt(fanIn)); // as torch's Linear and Conv2d
    });
  }

  /** addWeight calls the initializer once and keeps what it returns, so that no second copy is ever allocated. */
  private allocate(name: string, value: () => tf.Tensor): LayerVariable {
    if (this.disposed) throw new Error(`${this.constructor.name}: was disposed`);
    const initial = value();
    const initializer = { apply: () => initial } as unknown as Initializer;
    const { shape } = this.specs.get(name)!;
    const variable = this.addWeight(name, [...shape], 'float32', initializer, undefined, this.trainable, undefined, () => initializer);
    this.variables.set(name, variable);
    return variable;
  }
}
