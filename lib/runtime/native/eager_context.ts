import type { Attribute, Binding, Metadata, Values } from './binding.js';
import { Constants } from './constants.js';
import { outputShapes, type Known } from './op_shapes.js';
import type { TensorData } from './tensor_data.js';

/** What `runOp` has room for. */
const MAX_TENSORS = 32;

/** Of one op. Attributes that are others each time are not worth a number. */
const MAX_DEFINITIONS = 32;

/** Shapes, axes and sizes have no more. */
const MAX_INTEGERS = 16;

/** Hears of all that a context does, in order. */
export interface Recorder {
  /** An op ran. */
  ran(op: string, attributes: readonly Attribute[], inputs: readonly number[], results: readonly Metadata[]): void;
  /** JavaScript's values became TensorFlow's tensor `id`. */
  uploaded(id: number, shape: readonly number[], dtype: number, values: Values): void;
  /** A tensor of tfjs that lies as TensorFlow's tensor `id` is about to be used. */
  used(data: TensorData, id: number): void;
  /** JavaScript gave a tensor values, which TensorFlow does not have yet. */
  wrote(data: TensorData): void;
  /** JavaScript is about to read a value. */
  reads(): void;
}

interface Definition {
  readonly number: number;
  readonly attributes: readonly Attribute[];
}

/**
 * Where TensorFlow runs one op after the other, on tensors of its own, which have ids. Who gets one frees it.
 * Ops run on a thread of their own while JavaScript goes on to the next ones, as long as it knows what shapes they give (op_shapes.ts):
 * half of the time of small ops is JavaScript's. What goes wrong in an op is thrown by one of those after it, or where its result is read.
 * `binding` may be another one for a while, to look at what passes.
 */
export class EagerContext {
  /** While a recording is made. */
  recorder?: Recorder;
  private readonly numbers: Int32Array;
  private readonly definitions = new Map<string, Definition[]>();
  /** What is known of tensors, by their ids. */
  private readonly known = new Map<number, Known>();
  private readonly constants = new Constants((...tensor) => this.create(...tensor), id => this.delete(id));

  constructor(public binding: Binding) {
    this.numbers = binding.shareNumbers();
    this.runAhead(true);
  }

  /** Whether ops run while JavaScript goes on, or each within its call. */
  runAhead(ahead: boolean): void {
    this.binding.runAhead(ahead);
  }

  /** Waits for the ops that are under way, and forgets what went wrong in one. */
  forgetErrors(): void {
    this.binding.forgetError();
  }

  /** Runs an op. */
  run(op: string, attributes: readonly Attribute[], inputs: readonly number[], outputs = 1): Metadata[] {
    const constant = op === 'Cast' ? this.constants.cast(inputs[0], attributes.find(({ name }) => name === 'DstT')!.value as number,
      () => this.runAnew(op, attributes, inputs, outputs)[0]) : undefined;
    const results = constant ? [constant] : this.runAnew(op, attributes, inputs, outputs);
    this.recorder?.ran(op, attributes, inputs, results);
    return results;
  }

  /** Makes a tensor of JavaScript's values, which stay as they are as long as it is there. */
  upload(shape: readonly number[], dtype: number, values: Values): number {
    const id = this.constants.get(shape, dtype, values) ?? this.create(shape, dtype, values);
    this.recorder?.uploaded(id, shape, dtype, values);
    return id;
  }

  read(id: number): ReturnType<Binding['tensorDataSync']> {
    this.recorder?.reads();
    return this.hearing(() => this.binding.tensorDataSync(id));
  }

  /** Runs a function that `binding.addFunction` made. */
  call(name: string, inputs: Int32Array, outputs: number, compiled: boolean): Metadata[] {
    return this.meet(this.hearing(() => this.binding.runFunction(name, inputs, outputs, compiled)));
  }

  free(id: number): void {
    if (!this.constants.giveBack(id)) this.delete(id);
  }

  /** Whether this build of TensorFlow has an op; those for other processors do not have oneDNN's. */
  has(op: string): boolean {
    try {
      this.binding.executeOp(op, [], [], 1);
      return true;
    } catch (error) {
      return !/neither a type of a primitive operation nor a name of a function/.test(String(error)); // else it misses its inputs
    }
  }

  private runAnew(op: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): Metadata[] {
    const { numbers } = this;
    const defined = inputs.length <= MAX_TENSORS && outputs <= MAX_TENSORS ? this.define(op, attributes) : undefined;
    if (defined === undefined) return this.meet(this.hearing(() => this.binding.executeOp(op, attributes, inputs, outputs)));
    const shapes = outputShapes(op, attributes, inputs.map(id => this.known.get(id)));
    for (let i = 0; i < inputs.length; i++) numbers[i] = inputs[i];
    this.hearing(() => this.binding.runOp(defined, inputs.length, outputs, shapes === undefined));
    const results: Metadata[] = [];
    for (let i = 0, at = 0; i < outputs; i++) {
      const [id, dtype] = [numbers[at++], numbers[at++]];
      let shape: number[];
      if (shapes) shape = [...shapes[i]];
      else {
        shape = [];
        for (let left = numbers[at++]; left > 0; left--) shape.push(numbers[at++]);
      }
      results.push({ id, shape, dtype });
    }
    return this.meet(results);
  }

  private create(shape: readonly number[], dtype: number, values: Values): number {
    const id = this.hearing(() => this.binding.createTensor(shape, dtype, values));
    this.known.set(id, { shape: [...shape], values: values instanceof Int32Array && values.length <= MAX_INTEGERS ? values : undefined });
    return id;
  }

  private delete(id: number): void {
    this.known.delete(id);
    this.binding.deleteTensor(id);
  }

  /** Remembers what is known of new tensors. */
  private meet(made: Metadata[]): Metadata[] {
    for (const { id, shape } of made) this.known.set(id, { shape });
    return made;
  }

  /** `work()`; what it throws may be the fault of an op that ran ahead, and is told once. */
  private hearing<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.binding.forgetError();
      throw error;
    }
  }

  /** The number by which TensorFlow's side knows an op with its attributes; undefined if it has come with too many. */
  private define(op: string, attributes: readonly Attribute[]): number | undefined {
    let known = this.definitions.get(op);
    if (!known) this.definitions.set(op, known = []);
    for (const definition of known) if (same(definition.attributes, attributes)) return definition.number;
    if (known.length === MAX_DEFINITIONS) return undefined;
    const number = this.binding.defineOp(op, attributes);
    known.push({ number, attributes: structuredClone(attributes) }); // a copy: who made them may change them
    return number;
  }
}

function same(a: readonly Attribute[], b: readonly Attribute[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i].name !== b[i].name || a[i].type !== b[i].type || !sameValue(a[i].value, b[i].value)) return false;
  }
  return true;
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
