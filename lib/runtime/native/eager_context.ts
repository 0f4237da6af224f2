import type { Attribute, Binding, Metadata, Values } from './binding.js';
import { Constants } from './constants.js';
import type { TensorData } from './tensor_data.js';

/** What `runOp` has room for. */
const MAX_TENSORS = 32;

/** Of one op. Attributes that are others each time are not worth a number. */
const MAX_DEFINITIONS = 32;

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
 * `binding` may be another one for a while, to look at what passes.
 */
export class EagerContext {
  /** While a recording is made. */
  recorder?: Recorder;
  private readonly numbers: Int32Array;
  private readonly definitions = new Map<string, Definition[]>();
  private readonly constants = new Constants((...tensor) => this.binding.createTensor(...tensor), id => this.binding.deleteTensor(id));

  constructor(public binding: Binding) {
    this.numbers = binding.shareNumbers();
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
    const id = this.constants.get(shape, dtype, values) ?? this.binding.createTensor(shape, dtype, values);
    this.recorder?.uploaded(id, shape, dtype, values);
    return id;
  }


  read(id: number): ReturnType<Binding['tensorDataSync']> {
    this.recorder?.reads();
    return this.binding.tensorDataSync(id);
  }

  free(id: number): void {
    if (!this.constants.giveBack(id)) this.binding.deleteTensor(id);
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
    if (defined === undefined) return this.binding.executeOp(op, attributes, inputs, outputs);
    for (let i = 0; i < inputs.length; i++) numbers[i] = inputs[i];
    this.binding.runOp(defined, inputs.length, outputs);
    const results: Metadata[] = [];
    for (let i = 0, at = 0; i < outputs; i++) {
      const [id, dtype, rank] = [numbers[at++], numbers[at++], numbers[at++]];
      const shape: number[] = [];
      for (let axis = 0; axis < rank; axis++) shape.push(numbers[at++]);
      results.push({ id, shape, dtype });
    }
    return results;
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
