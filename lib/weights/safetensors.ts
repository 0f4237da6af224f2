import { show } from '../core/checks.js';
import { decodeBfloat16, decodeFloat16, decodeFloat8E4M3, decodeFloat8E5M2 } from '../core/float16.js';
import { isObject, parseJson } from '../core/json.js';
import type { ByteSource } from '../files/byte_source.js';

/** Bytes per element. */
export const elementSizes = { F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 };

/** The element types that are read, by their safetensors names. */
export type Dtype = keyof typeof elementSizes;

/** The element types that weights can have. */
export const floatDtypes: readonly Dtype[] = ['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2'];

/** What the elements of any dtype come as: a plain array of numbers. */
export type TypedArray = Float64Array | Float32Array | Int32Array | Int16Array | Int8Array | Uint8Array;

/** Where a tensor lies in its file. */
export interface TensorInfo {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte, counted from the beginning of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface SafetensorsHeader {
  readonly metadata: Record<string, string>;
  /** By name, in order of the offsets. */
  readonly tensors: Map<string, TensorInfo>;
}

/** A tensor that is still to be written: `bytes` is asked once, when its turn comes. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  bytes(): Promise<Uint8Array> | Uint8Array;
}

/** A file that breaks the rules of the format, or ends too early. */
export class SafetensorsError extends Error {
  override name = 'SafetensorsError';
}

const maxHeaderLength = 100_000_000;
const BRACE = 0x7b; // {
const alignment = 64; // so that a backend can map a tensor straight from the file

/**
 * Reads a whole safetensors file: https://github.com/huggingface/safetensors#format.
 * Floats of 16 and 8 bits come as float32, int64 as doubles; where no conversion is needed, `data` is a view of `bytes`.
 * @throws SafetensorsError if the file breaks the format's rules.
 */
export function readSafetensors(bytes: Uint8Array): {
  metadata: Record<string, string>;
  tensors: Record<string, { dtype: Dtype; shape: number[]; data: TypedArray }>;
} {
  const length = headerLength(bytes, bytes.length);
  const { metadata, tensors } = parseHeader(bytes.subarray(8, 8 + length), bytes.length);
  return {
    metadata,
    tensors: Object.fromEntries([...tensors].map(([name, { dtype, shape, offset, byteLength }]) =>
      [name, { dtype, shape: [...shape], data: decodeTensor(dtype, bytes.subarray(offset, offset + byteLength)) }])),
  };
}

/** Reads and checks the header alone; a tensor's bytes are then `source.read(info.offset, info.byteLength)`. */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const length = headerLength(await source.read(0, Math.min(8, source.size)), source.size);
  return parseHeader(await source.read(8, length), source.size);
}

/** Whether the first nine bytes of a file are those of a safetensors file, be it broken: the length of a header that can be, and {. */
export function beginsAsSafetensors(start: Uint8Array): boolean {
  return start.length >= 9 && lengthAt(start) <= maxHeaderLength && start[8] === BRACE;
}

/** Little-endian bytes -> numbers. A view of `bytes` where the dtype and the alignment allow it. */
export function decodeTensor(dtype: Dtype, bytes: Uint8Array): TypedArray {
  const { buffer, byteOffset, length } = bytes.byteOffset % elementSizes[dtype] ? new Uint8Array(bytes) : bytes;
  switch (dtype) {
    case 'F64': return new Float64Array(buffer, byteOffset, length / 8);
    case 'F32': return new Float32Array(buffer, byteOffset, length / 4);
    case 'F16': return decodeFloat16(new Uint16Array(buffer, byteOffset, length / 2));
    case 'BF16': return decodeBfloat16(new Uint16Array(buffer, byteOffset, length / 2));
    case 'F8_E4M3': return decodeFloat8E4M3(new Uint8Array(buffer, byteOffset, length));
    case 'F8_E5M2': return decodeFloat8E5M2(new Uint8Array(buffer, byteOffset, length));
    case 'I64': return Float64Array.from(new BigInt64Array(buffer, byteOffset, length / 8), Number);
    case 'I32': return new Int32Array(buffer, byteOffset, length / 4);
    case 'I16': return new Int16Array(buffer, byteOffset, length / 2);
    case 'I8': return new Int8Array(buffer, byteOffset, length);
    case 'U8':
    case 'BOOL': return new Uint8Array(buffer, byteOffset, length);
  }
}

/**
 * The bytes of a safetensors file, piece by piece, holding one tensor at a time.
 * The data begins at a multiple of 64 bytes and the tensors are ordered so that each whose size is a multiple of 64 lies at one too.
 * @throws SafetensorsError if a tensor's bytes do not fit its shape, or a name comes twice.
 */
export async function* writeSafetensors(tensors: Iterable<TensorToWrite>, metadata: Record<string, string>): AsyncGenerator<Uint8Array> {
  const ordered = [...tensors].sort((a, b) => alignmentOf(b) - alignmentOf(a) || (a.name < b.name ? -1 : 1));
  const header = new Map<string, unknown>([['__metadata__', metadata]]);
  let end = 0;
  for (const tensor of ordered) {
    if (header.has(tensor.name)) throw new SafetensorsError(`cannot write two tensors named '${tensor.name}'`);
    const begin = end;
    end += byteSize(tensor);
    header.set(tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] });
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const dataBegin = Math.ceil((8 + json.length) / alignment) * alignment;
  const head = new Uint8Array(dataBegin).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(dataBegin - 8), true);
  head.set(json, 8);
  yield head;
  for (const tensor of ordered) {
    const bytes = await tensor.bytes();
    if (bytes.length !== byteSize(tensor)) {
      const { name, dtype, shape } = tensor;
      throw new SafetensorsError(`${name}: got ${bytes.length} bytes, takes ${byteSize(tensor)} for ${dtype} [${shape.join(', ')}]`);
    }
    yield bytes;
  }
}

/** The number of bytes that a tensor's elements take. */
export function byteSize({ dtype, shape }: { dtype: Dtype; shape: readonly number[] }): number {
  return shape.reduce((product, size) => product * size, elementSizes[dtype]);
}

/** The largest power of two up to 64 that divides the tensor's size. */
function alignmentOf(tensor: TensorToWrite): number {
  const size = byteSize(tensor) % alignment;
  return size === 0 ? alignment : size & -size;
}

function headerLength(start: Uint8Array, fileSize: number): number {
  if (fileSize < 8) throw new SafetensorsError(`is no safetensors file: ${fileSize} bytes long, takes at least 8`);
  const length = lengthAt(start);
  if (length > maxHeaderLength) {
    throw new SafetensorsError(`is no safetensors file: its header would be ${length} bytes long, takes up to ${maxHeaderLength}`);
  }
  if (length > fileSize - 8) throw new SafetensorsError(`is cut off: its header ends at byte ${8 + length}, the file at ${fileSize}`);
  return length;
}

/** An unsigned number of eight bytes, little-endian; beyond 2^53 roughly. */
function lengthAt(start: Uint8Array): number {
  return Number(new DataView(start.buffer, start.byteOffset).getBigUint64(0, true));
}

function parseHeader(bytes: Uint8Array, fileSize: number): SafetensorsHeader {
  const header = parseHeaderJson(bytes);
  const dataBegin = 8 + bytes.length;
  const metadata = Object.hasOwn(header, '__metadata__') ? header.__metadata__ : {};
  if (!isObject(metadata) || !Object.values(metadata).every(value => typeof value === 'string')) {
    throw new SafetensorsError('__metadata__: takes an object of strings');
  }
  const ranges = Object.entries(header).filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => ({ name, ...parseEntry(name, entry) }))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  for (const range of ranges) {
    if (range.begin !== end) {
      throw new SafetensorsError(`${show(range.name)}: its data begins at ${range.begin}, takes ${end}, where the tensor before ends`);
    }
    end = range.end;
  }
  if (dataBegin + end !== fileSize) {
    throw new SafetensorsError(`${dataBegin + end > fileSize ? 'is cut off' : 'has bytes behind its last tensor'}: ` +
      `the tensors end at byte ${dataBegin + end}, the file at ${fileSize}`);
  }
  return {
    metadata: metadata as Record<string, string>,
    tensors: new Map(ranges.map(({ name, dtype, shape, begin, end }) =>
      [name, { dtype, shape, offset: dataBegin + begin, byteLength: end - begin }])),
  };
}

function parseHeaderJson(bytes: Uint8Array): Record<string, unknown> {
  if (bytes[0] !== BRACE) throw new SafetensorsError('is no safetensors file: its header does not begin with {');
  try {
    return parseJson('header', new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Record<string, unknown>;
  } catch (error) {
    throw new SafetensorsError(error instanceof TypeError ? 'header: is not UTF-8' : (error as Error).message, { cause: error });
  }
}

function parseEntry(name: string, entry: unknown): { dtype: Dtype; shape: number[]; begin: number; end: number } {
  const fail = (problem: string): never => { throw new SafetensorsError(`${show(name)}: ${problem}`); };
  if (!isObject(entry)) return fail(`got ${show(entry)}, takes { dtype, shape, data_offsets }`);
  const { dtype, shape, data_offsets: offsets } = entry;
  const missing = Object.entries({ dtype, shape, data_offsets: offsets }).find(([, value]) => value === undefined)?.[0];
  if (missing) return fail(`${missing} missing, takes { dtype, shape, data_offsets }`);
  if (typeof dtype !== 'string' || !Object.hasOwn(elementSizes, dtype)) {
    return fail(`dtype ${show(dtype)} cannot be read, takes ${Object.keys(elementSizes).join(', ')}`);
  }
  if (!isSizes(shape)) return fail(`shape ${show(shape)}, takes a list of whole numbers`);
  if (!isSizes(offsets) || offsets.length !== 2) return fail(`data_offsets ${show(offsets)}, takes [begin, end]`);
  const [begin, end] = offsets;
  let size = elementSizes[dtype as Dtype];
  for (const length of shape) {
    size *= length;
    if (!Number.isSafeInteger(size)) return fail(`shape ${show(shape)} is too large`);
  }
  if (end - begin !== size) return fail(`${dtype} ${show(shape)} takes ${size} bytes, data_offsets ${show(offsets)} give ${end - begin}`);
  return { dtype: dtype as Dtype, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(size => Number.isSafeInteger(size) && size >= 0);
}
