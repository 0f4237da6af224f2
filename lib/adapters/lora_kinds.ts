import * as tf from '@tensorflow/tfjs';
import { takeRows, type RowParts } from '../checkpoints/tensors.js';
import { bytesOf } from '../core/bytes_of.js';
import type { ParameterSpec } from '../core/parameter.js';
import type { StoredTensor } from '../loading/state_dict.js';
import { torchToTfjs } from '../weights/layouts.js';

/** What a file can hold for one module. */
export type Part = typeof factorParts[number] | 'alpha' | 'magnitude' | 'dora_scale' | 'up_bias' | 'diff_b';
export type Parts = Partial<Record<Part, StoredTensor>>;

const factorParts = [
  'down', 'up', 'mid',
  'hada_w1_a', 'hada_w1_b', 'hada_t1', 'hada_w2_a', 'hada_w2_b', 'hada_t2',
  'lokr_w1', 'lokr_w1_a', 'lokr_w1_b', 'lokr_w2', 'lokr_w2_a', 'lokr_w2_b', 'lokr_t2',
  'diff',
] as const;

/** The parts whose rows are a module's outputs, and those that all outputs share; the others are neither. */
const BY_OUTPUTS: readonly Part[] = ['up', 'hada_w1_a', 'hada_w2_a', 'diff', 'magnitude', 'dora_scale', 'up_bias', 'diff_b'];
const SHARED: readonly Part[] = ['down', 'hada_w1_b', 'hada_w2_b', 'alpha'];

/**
 * What a part of a file's module is for one of ours that is some of its rows, as of queries, keys and values in one.
 * @throws RangeError for what cannot be had by rows.
 */
export function rowsOfPart(part: Part, tensor: StoredTensor, wanted: RowParts): StoredTensor {
  const { of, take } = wanted;
  const { shape: [rows, ...rest], data } = tensor;
  const ofInputs = part === 'dora_scale' && rows === 1;
  if (of === 1 || ofInputs || SHARED.includes(part)) return tensor;
  if (!BY_OUTPUTS.includes(part)) throw new RangeError('is of several modules in one, takes a LoRA or LoHa of those');
  if (rows === undefined || rows % of !== 0) {
    throw new RangeError(`has the shape [${tensor.shape.join(', ')}], takes rows in ${of} equal parts`);
  }
  return { shape: [rows / of * take.length, ...rest], data: takeRows(data, wanted) };
}

/** What a module's parts make of its weight. */
export interface WeightChange {
  /** Makes what is added, in our layout, before any scale. The tensor is the caller's. */
  readonly delta: () => tf.Tensor;
  /** Whether alpha / rank scales it. */
  readonly takesAlpha: boolean;
  /** Undefined where no factor has one. */
  readonly rank?: number;
}

/**
 * The change that factors describe, by the kind of adapter that they are of.
 * @returns undefined if there are none.
 * @throws RangeError with what is missing or does not fit.
 */
export function weightChange(parts: Parts, spec: ParameterSpec): WeightChange | undefined {
  const present = factorParts.filter(part => parts[part]);
  if (present.length === 0) return undefined;
  const kind = kinds.find(({ prefix }) => prefix.test(present[0]))!;
  const stranger = present.find(part => !kind.prefix.test(part));
  if (stranger) throw new RangeError(`has both ${present[0]} and ${stranger}`);
  const missing = kind.needs.find(choices => !choices.some(choice => choice.every(part => parts[part])));
  if (missing) throw new RangeError(`has no ${missing[0].find(part => !parts[part])}`);
  const isEmbedding = spec.layout === 'plain' && spec.shape.length > 1; // whose words can grow
  const matrix = isEmbedding ? undefined : kind.make(parts, spec);
  if (!matrix) {
    const shapes = present.map(part => `[${parts[part]!.shape.join(', ')}]`);
    const listed = shapes.length === 1 ? shapes[0] : `${shapes.slice(0, -1).join(', ')} and ${shapes.at(-1)}`;
    throw new RangeError(`has factors ${listed}, the weight is [${spec.shape.join(', ')}]`);
  }
  const delta = () => tf.tidy(() => tf.reshape(matrix.value(), [...spec.shape]));
  return { takesAlpha: kind.rank !== undefined, rank: kind.rank?.(parts), delta };
}

interface Kind {
  /** Of the names of all its parts. */
  readonly prefix: RegExp;
  /** Of each list, one choice must be there whole. */
  readonly needs: ReadonlyArray<ReadonlyArray<readonly Part[]>>;
  /** @returns undefined where sizes do not fit. */
  readonly make: (parts: Parts, spec: ParameterSpec) => Matrix | undefined;
  readonly rank?: (parts: Parts) => number | undefined;
}

const kinds: readonly Kind[] = [
  { // LoRA (arXiv:2106.09685), of convolutions as well (LoCon)
    prefix: /^(down|up|mid)$/,
    needs: [[['down']], [['up']]],
    make: lowRank,
    rank: ({ down }) => down!.shape[0],
  },
  { // LoHa (arXiv:2108.06098): two products of low rank, element by element
    prefix: /^hada_/,
    needs: [[['hada_w1_a']], [['hada_w1_b']], [['hada_w2_a']], [['hada_w2_b']]],
    make: hadamard,
    rank: ({ hada_w1_b: down }) => down!.shape[0],
  },
  { // LoKr (arXiv:2212.10650): the Kronecker product of two matrices, each whole or of low rank
    prefix: /^lokr_/,
    needs: [[['lokr_w1'], ['lokr_w1_a', 'lokr_w1_b']], [['lokr_w2'], ['lokr_w2_a', 'lokr_w2_b']]],
    make: kronecker,
    rank: ({ lokr_w1: w1, lokr_w1_b: w1b, lokr_w2: w2, lokr_w2_b: w2b }) => (w1 ? w2 ? undefined : w2b : w1b)?.shape[0],
  },
  { // the change as it is
    prefix: /^diff$/,
    needs: [],
    make: ({ diff }, spec) => spec.layout === 'plain' ? asItIs(diff!, spec.shape) : matrix(diff!, sizesOf(spec)),
  },
];

/** Sizes are known before there is a tensor. Rows are a weight's `height * width * inputs`, columns its outputs. */
interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly value: () => tf.Tensor;
}

/** How torch has a weight: `[outputs, inputs, height, width]`. */
interface Sizes {
  readonly outputs: number;
  readonly inputs: number;
  readonly height: number;
  readonly width: number;
}

const flat = { height: 1, width: 1 };
const maxTuckerRank = 4096; // with more, what is between small factors would be larger than any weight

function lowRank({ down, up, mid }: Parts, spec: ParameterSpec): Matrix | undefined {
  const sizes = sizesOf(spec);
  if (!mid) return product(down!, up!, sizes);
  const first = matrix(down!, { ...sizes, ...flat, outputs: down!.shape[0] });
  const last = matrix(up!, { ...sizes, ...flat, inputs: up!.shape[1] });
  return tucker(mid, first, last, sizes);
}

function hadamard(parts: Parts, spec: ParameterSpec): Matrix | undefined {
  const sizes = sizesOf(spec);
  const first = half(parts.hada_t1, parts.hada_w1_b!, parts.hada_w1_a!, sizes);
  const second = half(parts.hada_t2, parts.hada_w2_b!, parts.hada_w2_a!, sizes);
  return first && second && { ...first, value: () => tf.mul(first.value(), second.value()) };
}

function kronecker(parts: Parts, spec: ParameterSpec): Matrix | undefined {
  const { lokr_w1: w1, lokr_w1_a: w1a, lokr_w1_b: w1b, lokr_w2: w2, lokr_w2_a: w2a, lokr_w2_b: w2b, lokr_t2: t2 } = parts;
  const sizes = sizesOf(spec);
  const outer = { ...flat, outputs: (w1 ?? w1a!).shape[0], inputs: (w1 ?? w1b!).shape[1] };
  const inner = { ...sizes, outputs: sizes.outputs / outer.outputs, inputs: sizes.inputs / outer.inputs };
  const first = w1 ? matrix(w1, outer) : product(w1b!, w1a!, outer);
  const second = w2 ? matrix(w2, inner) : half(t2, w2b!, w2a!, inner);
  return first && second && {
    rows: outer.inputs * second.rows,
    columns: outer.outputs * second.columns,
    value: () => tf.mul(
      tf.reshape(first.value(), [1, outer.inputs, 1, outer.outputs, 1]),
      tf.reshape(second.value(), [sizes.height * sizes.width, 1, inner.inputs, 1, inner.outputs]),
    ),
  };
}

/** A product of low rank, as LoHa and LoKr are made of; in Tucker's form its `up` lies the other way round. */
function half(mid: StoredTensor | undefined, down: StoredTensor, up: StoredTensor, sizes: Sizes): Matrix | undefined {
  if (!mid) return product(down, up, sizes);
  return tucker(mid, matrix(down, { ...sizes, ...flat, outputs: down.shape[0] }), asItIs(up, [up.shape[0], sizes.outputs]), sizes);
}

function asItIs({ shape, data }: StoredTensor, expected: readonly number[]): Matrix | undefined {
  if (shape.length !== expected.length || shape.some((size, axis) => size !== expected[axis])) return undefined;
  return { rows: shape[0], columns: data.length / shape[0], value: () => tf.tensor(data, [...shape]) };
}

/** Of torch's `[outputs, inputs, height, width]`, whose last axes may be flat or missing. */
function matrix({ shape, data }: StoredTensor, { outputs, inputs, height, width }: Sizes): Matrix | undefined {
  const rows = height * width * inputs;
  if (shape[0] !== outputs || data.length !== rows * outputs || data.length === 0) return undefined;
  const bytes = torchToTfjs(bytesOf(data), 4, [outputs, inputs, height, width], 'conv');
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, data.length);
  return { rows, columns: outputs, value: () => tf.tensor2d(values, [rows, outputs]) };
}

/** Of torch's `down` `[rank, inputs, height, width]` and `up` `[outputs, rank]`. */
function product(down: StoredTensor, up: StoredTensor, sizes: Sizes): Matrix | undefined {
  const rank = down.shape[0];
  const [first, second] = [matrix(down, { ...sizes, outputs: rank }), matrix(up, { ...flat, outputs: sizes.outputs, inputs: rank })];
  return first && second && { rows: first.rows, columns: second.columns, value: () => tf.matMul(first.value(), second.value()) };
}

/** Of torch's `mid` `[up's rank, down's rank, height, width]`, `down` `[inputs, rank]` and `up` `[rank, outputs]`. */
function tucker(mid: StoredTensor, down: Matrix | undefined, up: Matrix | undefined, { height, width }: Sizes): Matrix | undefined {
  const [upRank, downRank] = mid.shape;
  const core = matrix(mid, { outputs: upRank, inputs: downRank, height, width });
  if (!core || down?.columns !== downRank || up?.rows !== upRank || Math.max(upRank, downRank) > maxTuckerRank) return undefined;
  const taps = height * width;
  return {
    rows: taps * down.rows,
    columns: up.columns,
    value: () => {
      const wide = tf.reshape(tf.matMul(core.value(), up.value()), [taps, downRank, up.columns]);
      return tf.matMul(tf.tile(tf.expandDims(down.value(), 0), [taps, 1, 1]), wide);
    },
  };
}

function sizesOf({ shape, layout }: ParameterSpec): Sizes {
  if (layout === 'conv') return { height: shape[0], width: shape[1], inputs: shape[2], outputs: shape[3] };
  return { ...flat, inputs: shape[0], outputs: shape[1] };
}
