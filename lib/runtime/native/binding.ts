import type { FloatDtype } from '../../core/float16.js';

/** TensorFlow's numbers for the types that appear here. */
export const TF = {
  FLOAT: 1, DOUBLE: 2, INT32: 3, UINT8: 4, INT16: 5, INT8: 6, STRING: 7, COMPLEX64: 8, INT64: 9, BOOL: 10, BFLOAT16: 14, HALF: 19,
  RESOURCE: 20,
} as const;

/** Those that weights can be computed in. */
export const FLOAT_TYPES: Readonly<Record<FloatDtype, number>> = { float32: TF.FLOAT, float16: TF.HALF, bfloat16: TF.BFLOAT16 };

/** And for the kinds of attributes. */
export const KIND = { STRING: 0, INT: 1, FLOAT: 2, BOOL: 3, TYPE: 4, SHAPE: 5 } as const;

/** Something that an op shall know before it runs. */
export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

export const type = (name: string, value: number | readonly number[]): Attribute => ({ name, type: KIND.TYPE, value });
export const flag = (name: string, value: boolean): Attribute => ({ name, type: KIND.BOOL, value });
export const integer = (name: string, value: number): Attribute => ({ name, type: KIND.INT, value });
export const text = (name: string, value: string): Attribute => ({ name, type: KIND.STRING, value });
export const ints = (name: string, value: readonly number[]): Attribute => ({ name, type: KIND.INT, value });
export const shape = (name: string, value: readonly number[] | ReadonlyArray<readonly number[]>): Attribute =>
  ({ name, type: KIND.SHAPE, value });

/** oneDNN's ops have one kernel for plain tensors, under this label, and others for its own layouts. */
export const PLAIN_TENSORS = text('_kernel', 'MklNameChangeOp');

/** A tensor of TensorFlow, which is held until its id is given to `deleteTensor`. No id comes twice. */
export interface Metadata {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

/** Values as JavaScript has them; texts are bytes each. */
export type Values = Int32Array | Uint8Array | Float32Array | Uint8Array[];

/** What is used here of the C++ addon: tfjs-node's binding, and what addon/binding.cc has beside it. */
export interface Binding {
  readonly TF_Version: string;
  isUsingGpuDevice(): boolean;
  createTensor(shape: readonly number[], dtype: number, values: Values): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
  executeOp(name: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): Metadata[];
  /** As `executeOp`, of an op that `defineOp` gave a number, by what `shareNumbers` gave; see there. */
  runOp(op: number, inputs: number, outputs: number, withShapes: boolean): void;
  defineOp(name: string, attributes: readonly Attribute[]): number;
  shareNumbers(): Int32Array;
  /** Whether ops run on another thread, in order, while JavaScript goes on. Their results can be put into ops at once. */
  runAhead(ahead: boolean): void;
  /** After an op failed that ran ahead: until then all fail. */
  forgetError(): void;
  /** Makes a function of a GraphDef, with the graph's tensors that are put in and taken out, as in `node` and `node:1`. */
  addFunction(name: string, graph: Uint8Array, inputs: readonly string[], outputs: readonly string[]): void;
  removeFunction(name: string): void;
  runFunction(name: string, inputs: Int32Array, outputs: number, compiled: boolean): Metadata[];
  /** Makes machine code of a function by XLA, for inputs like these, on another thread, by a run whose results are dropped. */
  compileFunction(name: string, inputs: Int32Array, outputs: number): Promise<void>;
  /** Whether oneDNN's convolutions are faster than TensorFlow's own on this processor, by TensorFlow's word. */
  usesOneDnn(): boolean;
  /** Whether float32 products and convolutions may be computed in TF32, where a GPU has it. */
  allowTf32(allowed: boolean): void;
}

export function isHalf(dtype: number): boolean {
  return dtype === TF.HALF || dtype === TF.BFLOAT16;
}
