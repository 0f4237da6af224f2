import { brief, show } from '../core/checks.js';
import { isObject, parseJson } from '../core/json.js';
import { columnsOfWord, matrixOf } from '../core/quantized.js';
import type { FileLayout } from './layouts.js';
import { SafetensorsError, type Dtype, type SafetensorsHeader, type TensorInfo } from './safetensors.js';

/**
 * Weights in fewer bits in safetensors files. `x.weight` is then of I8, or of U8 with two numbers of 4 bits in a byte, so that its last
 * axis (in torch's layout the inputs) is half as long; `x.weight.scales`, and perhaps `x.weight.minimums`, lie beside it. The metadata's
 * `quantized` says of each such weight how many numbers have a scale together. In torch's layout, which is that of GGUF files too, groups
 * lie along the inputs: scales are `[outputs, groups]`; in ours they are `[groups, outputs]`.
 */

/** What the metadata calls the list of them: JSON of names and group sizes. */
export const QUANTIZED = 'quantized';

/** The name of the scales of a weight, and of its minimums. */
export const scalesOf = (name: string): string => `${name}.scales`;
export const minimumsOf = (name: string): string => `${name}.minimums`;

/** What lies beside the numbers of a quantized weight. */
export interface QuantizedInfo {
  readonly groupSize: number;
  readonly scales: TensorInfo;
  readonly minimums?: TensorInfo;
}

export interface QuantizedWeights {
  /** By their names. */
  readonly quantized: Map<string, QuantizedInfo>;
  /** The names of what belongs to them. */
  readonly parts: Set<string>;
}

/** The bits of the dtypes that quantized numbers have. */
export const BITS: Partial<Record<Dtype, 4 | 8>> = { I8: 8, U8: 4 };
const SCALE_DTYPES: readonly Dtype[] = ['F32', 'F16'];

/**
 * The quantized weights that a file's metadata lists.
 * @throws SafetensorsError for a list that is none, and for a weight that is not there, or not with all that belongs to it.
 */
export function quantizedWeights({ metadata, tensors }: SafetensorsHeader): QuantizedWeights {
  const quantized = new Map<string, QuantizedInfo>();
  const parts = new Set<string>();
  for (const [name, groupSize] of Object.entries(listOf(metadata))) {
    const fail = (problem: string): never => { throw new SafetensorsError(`${brief(name)}: ${problem}`); };
    if (!Number.isSafeInteger(groupSize) || (groupSize as number) < 1) fail(`its groups are of ${show(groupSize)}, takes a size from 1 on`);
    const info = tensors.get(name);
    if (!info) return fail('is listed as quantized and not there');
    if (!BITS[info.dtype]) fail(`is listed as quantized and of dtype ${info.dtype}, takes ${Object.keys(BITS).join(', ')}`);
    const part = (key: string) => {
      const found = tensors.get(key);
      if (found && !SCALE_DTYPES.includes(found.dtype)) {
        throw new SafetensorsError(`${brief(key)}: has dtype ${found.dtype}, takes ${SCALE_DTYPES.join(', ')}`);
      }
      if (found) parts.add(key);
      return found;
    };
    const scales = part(scalesOf(name)) ?? fail(`is listed as quantized and has no ${scalesOf('')}`);
    quantized.set(name, { groupSize: groupSize as number, scales, minimums: part(minimumsOf(name)) });
  }
  return { quantized, parts };
}

function listOf(metadata: Readonly<Record<string, string>>): object {
  if (!Object.hasOwn(metadata, QUANTIZED)) return {};
  let list: unknown;
  try {
    list = parseJson(`__metadata__.${QUANTIZED}`, metadata[QUANTIZED]);
  } catch (error) {
    throw new SafetensorsError((error as Error).message, { cause: error });
  }
  if (isObject(list)) return list;
  throw new SafetensorsError(`__metadata__.${QUANTIZED}: got ${show(list)}, takes an object of group sizes`);
}

/** The shape of the numbers that a quantized weight holds. */
export function numbersShape({ dtype, shape }: TensorInfo, layout: FileLayout): readonly number[] {
  return BITS[dtype] === 4 ? withAxis(shape, layout, size => 2 * size) : shape;
}

/** The shape that so many numbers have in a file. */
export function storedShape(dtype: Dtype, shape: readonly number[], layout: FileLayout): readonly number[] {
  return BITS[dtype] === 4 ? withAxis(shape, layout, size => size / 2) : shape;
}

/** A shape whose axis of neighbours, torch's inputs or our outputs, is another. */
function withAxis(shape: readonly number[], layout: FileLayout, change: (size: number) => number): readonly number[] {
  const axis = layout === 'tfjs' ? shape.length - 1 : 1;
  return shape.map((size, i) => i === axis ? change(size) : size);
}

/** What is wrong with a quantized weight whose numbers are as many as its parameter's, if something is. */
export function quantizedProblem(
  info: TensorInfo, { groupSize, scales, minimums }: QuantizedInfo, layout: FileLayout,
): string | undefined {
  const shape = numbersShape(info, layout);
  if (shape.length < 2) return 'is quantized and has one axis, takes a matrix';
  const sizes = matrixSizes(shape, layout);
  if (!sizes) return 'is a quantized kernel of several taps, takes floats';
  const { depth, columns } = sizes;
  const word = columnsOfWord(BITS[info.dtype]!);
  if (columns % word !== 0) return `is quantized and has ${columns} outputs, takes a multiple of ${word}`;
  if (groupSize > depth) return `is quantized in groups of ${groupSize}, takes up to ${depth}`;
  const groups = Math.ceil(depth / groupSize);
  const wanted = layout === 'tfjs' ? [groups, columns] : [columns, groups];
  const fit = ({ shape }: TensorInfo) => shape.length === 2 && shape.every((size, axis) => size === wanted[axis]);
  const wrong = [scales, minimums].find(part => part && !fit(part));
  return wrong && `has scales or minimums of the shape [${brief(wrong.shape.join(', '))}], takes [${wanted.join(', ')}]`;
}

/** The shape of numbers in a file as a matrix; undefined for a kernel of several taps in torch's layout, whose inputs lie apart. */
export function matrixSizes(shape: readonly number[], layout: FileLayout): { depth: number; columns: number } | undefined {
  if (layout === 'tfjs') return matrixOf(shape);
  const [columns, depth, ...taps] = shape;
  return taps.every(size => size === 1) ? { depth, columns } : undefined;
}
