import { brief, show } from '../core/checks.js';
import { encodeFloat16 } from '../core/float16.js';
import { columnsOfWord, packNibbles } from '../core/quantized.js';
import type { ByteSource } from '../files/byte_source.js';
import { byteSize, type Dtype } from '../weights/safetensors.js';
import type { CheckpointContent, CheckpointTensor } from './checkpoint_tensor.js';
import { blockFormats, decodeBlocks, widenBlocks, type BlockFormat, type DecodedBlocks } from './gguf_blocks.js';

/** A file that breaks the rules of GGUF, or holds what is not read. */
export class GgufError extends Error {
  override name = 'GgufError';
}

const MAGIC = 'GGUF';
const VERSIONS = [2, 3];
const MAX_HEADER = 100_000_000;
const MAX_COUNT = 100_000; // of tensors, and of values beside them
const MAX_NAME = 1000;
const MAX_DEPTH = 4; // of arrays in arrays
const MAX_AXES = 4;

/** The types of tensors by their numbers. Those of blocks that are not in `blockFormats` are refused by these names. */
const TYPES: Readonly<Record<number, string>> = {
  0: 'F32', 1: 'F16', 2: 'Q4_0', 3: 'Q4_1', 6: 'Q5_0', 7: 'Q5_1', 8: 'Q8_0', 9: 'Q8_1', 10: 'Q2_K', 11: 'Q3_K', 12: 'Q4_K', 13: 'Q5_K',
  14: 'Q6_K', 15: 'Q8_K', 16: 'IQ2_XXS', 17: 'IQ2_XS', 18: 'IQ3_XXS', 19: 'IQ1_S', 20: 'IQ4_NL', 21: 'IQ3_S', 22: 'IQ2_S', 23: 'IQ4_XS',
  24: 'I8', 25: 'I16', 26: 'I32', 27: 'I64', 28: 'F64', 29: 'IQ1_M', 30: 'BF16', 34: 'TQ1_0', 35: 'TQ2_0', 39: 'MXFP4', 40: 'NVFP4',
};
const PLAIN: readonly string[] = ['F32', 'F16', 'BF16', 'F64', 'I8', 'I16', 'I32', 'I64'] satisfies Dtype[];

/** Bytes of the values that have a fixed size, by their types' numbers; 8 is a text, 9 an array. */
const VALUE_SIZES: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };
const [INT32, STRING, ARRAY, INT64] = [5, 8, 9, 11];

/** Which shape a tensor has that was laid out otherwise to be quantized. */
const ORIGINAL_SHAPE = 'comfy.gguf.orig_shape.';

export function beginsAsGguf(start: Uint8Array): boolean {
  return start.length >= 4 && String.fromCharCode(...start.subarray(0, 4)) === MAGIC;
}

/**
 * Finds the tensors of a GGUF file: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A matrix in fewer bits stays so, if its
 * groups lie along its inputs and its outputs make whole words; what is otherwise comes as float32.
 * @throws GgufError if it breaks the rules of the format, or has a type of tensors that is not read.
 */
export async function readGguf(source: ByteSource): Promise<CheckpointContent> {
  const header = await readHeader(source);
  const last: LastDecoded = {};
  const tensors = header.tensors.map(info => [info.name, tensorOf(info, last)] as const);
  return { tensors: new Map(tensors), metadata: {} };
}

interface Info {
  readonly name: string;
  readonly type: string;
  /** Torch's, outermost first. */
  readonly shape: readonly number[];
  /** In the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Reads as much of the file as its header takes, whose length nothing says. */
async function readHeader(source: ByteSource): Promise<{ tensors: Info[] }> {
  for (let length = 1 << 20; ; length *= 4) {
    const bytes = await source.read(0, Math.min(length, source.size, MAX_HEADER));
    try {
      return parseHeader(new Cursor(bytes), source.size);
    } catch (error) {
      if (!(error instanceof EndOfBytes)) throw error;
      if (bytes.length === source.size) throw new GgufError('is cut off in its header', { cause: error });
      if (bytes.length === MAX_HEADER) throw new GgufError(`has a header of more than ${MAX_HEADER} bytes`, { cause: error });
    }
  }
}

function parseHeader(cursor: Cursor, fileSize: number): { tensors: Info[] } {
  if (cursor.characters(4) !== MAGIC) throw new GgufError(`is no GGUF file: it does not begin with ${MAGIC}`);
  const version = cursor.uint32();
  if (!VERSIONS.includes(version)) throw new GgufError(`is of GGUF's version ${version}, takes ${VERSIONS.join(', ')}`);
  const [tensorCount, valueCount] = [cursor.count('tensors'), cursor.count('values')];
  let alignment = 32;
  const originalShapes = new Map<string, number[]>();
  for (let i = 0; i < valueCount; i++) {
    const key = cursor.text('a key');
    const type = cursor.uint32();
    if (key === 'general.alignment' && type === 4) alignment = cursor.uint32();
    else if (key.startsWith(ORIGINAL_SHAPE) && type === ARRAY) originalShapes.set(key.slice(ORIGINAL_SHAPE.length), cursor.shape(key));
    else cursor.skip(key, type);
  }
  if (alignment === 0 || alignment % 8 !== 0 || alignment > 1 << 20) {
    throw new GgufError(`general.alignment: got ${alignment}, takes a multiple of 8 up to ${1 << 20}`);
  }
  const found = Array.from({ length: tensorCount }, () => parseTensor(cursor, originalShapes));
  const names = new Set(found.map(({ name }) => name));
  if (names.size < found.length) throw new GgufError('has two tensors of one name');
  const align = (offset: number) => Math.ceil(offset / alignment) * alignment;
  const dataBegin = align(cursor.at);
  let end = 0;
  const tensors = [...found].sort((a, b) => a.offset - b.offset).map(tensor => {
    const { name, offset, byteLength } = tensor;
    if (offset !== align(end)) {
      throw new GgufError(`${brief(name)}: its data begins at ${offset}, takes ${align(end)}, behind the tensor before`);
    }
    end = offset + byteLength;
    return { ...tensor, offset: dataBegin + offset };
  });
  if (dataBegin + end > fileSize) throw new GgufError(`is cut off: its tensors end at byte ${dataBegin + end}, the file at ${fileSize}`);
  return { tensors };
}

function parseTensor(cursor: Cursor, originalShapes: ReadonlyMap<string, readonly number[]>): Info {
  const name = cursor.text('the name of a tensor');
  const fail = (problem: string): never => { throw new GgufError(`${brief(name)}: ${problem}`); };
  const axes = cursor.uint32();
  if (axes > MAX_AXES) fail(`has ${axes} axes, takes up to ${MAX_AXES}`);
  const sizes = Array.from({ length: axes }, () => cursor.uint64());
  const number = cursor.uint32();
  const offset = cursor.uint64();
  const type = Object.hasOwn(TYPES, number) ? TYPES[number] : undefined;
  const format = blockFormats.get(type ?? '');
  if (type === undefined || (!format && !PLAIN.includes(type))) {
    return fail(`is of type ${type ?? number}, takes ${[...PLAIN, ...blockFormats.keys()].join(', ')}`);
  }
  const count = sizes.reduce((product, size) => product * size, 1);
  if (![...sizes, 8 * count, offset].every(Number.isSafeInteger)) fail(`shape [${sizes.join(', ')}] is too large`);
  if (format && (axes === 0 || sizes[0] % format.size !== 0)) {
    fail(`its rows of ${sizes[0] ?? 1} numbers are no whole blocks of ${type}, which have ${format.size}`);
  }
  const shape = originalShapes.get(name) ?? sizes.reverse();
  if (shape.reduce((product, size) => product * size, 1) !== count) fail(`has ${count} numbers, and was of the shape ${show(shape)}`);
  const byteLength = format ? count / format.size * format.bytes : byteSize({ dtype: type as Dtype, shape });
  return { name, type, shape, offset, byteLength };
}

/** What was decoded last: numbers and scales of a tensor are asked for one after the other. */
interface LastDecoded {
  info?: Info;
  blocks?: Promise<DecodedBlocks>;
}

function tensorOf(info: Info, last: LastDecoded): CheckpointTensor {
  const { type, shape, offset, byteLength } = info;
  const format = blockFormats.get(type);
  if (!format) return { dtype: type as Dtype, shape, offset, read: source => source.read(offset, byteLength) };
  const decoded = (source: ByteSource) => {
    if (last.info !== info) {
      last.info = info;
      last.blocks = source.read(offset, byteLength).then(bytes => decodeBlocks(bytes, format));
      last.blocks.catch(() => { if (last.info === info) last.info = undefined; }); // the next one reads again
    }
    return last.blocks!;
  };
  const widened: CheckpointTensor = {
    dtype: 'F32', shape, read: async source => new Uint8Array(widenBlocks(await decoded(source), format).buffer),
  };
  const groups = groupsOf(shape, format);
  if (!groups) return widened;
  const floats = (take: (blocks: DecodedBlocks) => Float32Array): CheckpointTensor => ({
    dtype: format.halfScales ? 'F16' : 'F32', shape: groups,
    read: async source => {
      const values = take(await decoded(source));
      return new Uint8Array(format.halfScales ? encodeFloat16(values).buffer : values.buffer);
    },
  });
  return {
    dtype: format.bits === 8 ? 'I8' : 'U8', shape,
    read: async source => {
      const { values } = await decoded(source);
      return format.bits === 8 ? values : packNibbles(values);
    },
    quantized: {
      groupSize: format.groupSize, widened, scales: floats(({ scales }) => scales),
      minimums: format.hasMinimums ? floats(({ minimums }) => minimums!) : undefined,
    },
  };
}

/** The shape of the scales of a matrix whose groups lie along its inputs; undefined for what is none, or whose outputs are odd. */
function groupsOf([outputs, inputs, ...taps]: readonly number[], { bits, groupSize }: BlockFormat): number[] | undefined {
  const isMatrix = outputs > 0 && inputs > 0 && taps.every(size => size === 1);
  return isMatrix && inputs % groupSize === 0 && outputs % columnsOfWord(bits) === 0 ? [outputs, inputs / groupSize] : undefined;
}

class EndOfBytes extends Error {}

/** Reads little-endian values, one behind the other. */
class Cursor {
  at = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Goes on by so many bytes, from where they begin. */
  private take(length: number): number {
    const begin = this.at;
    if (length > this.bytes.length - begin) throw new EndOfBytes();
    this.at += length;
    return begin;
  }

  characters(length: number): string {
    return String.fromCharCode(...this.bytes.subarray(this.take(length), this.at));
  }

  uint32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  /** Beyond 2^53 roughly. */
  uint64(): number {
    return Number(this.view.getBigUint64(this.take(8), true));
  }

  count(what: string): number {
    const count = this.uint64();
    if (count > MAX_COUNT) throw new GgufError(`has ${count} ${what}, takes up to ${MAX_COUNT}`);
    return count;
  }

  /** A text for a name. */
  text(what: string): string {
    const length = this.uint64();
    if (length > MAX_NAME) throw new GgufError(`has ${what} of ${length} bytes, takes up to ${MAX_NAME}`);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.bytes.subarray(this.take(length), this.at));
    } catch (error) {
      throw error instanceof TypeError ? new GgufError(`has ${what} that is not UTF-8`, { cause: error }) : error;
    }
  }

  /** An array of a few whole numbers. */
  shape(key: string): number[] {
    const [type, length] = [this.uint32(), this.uint64()];
    if ((type !== INT32 && type !== INT64) || length > MAX_AXES) {
      throw new GgufError(`${brief(key)}: takes up to ${MAX_AXES} integers`);
    }
    const sizes = Array.from({ length }, () => type === INT32 ? this.view.getInt32(this.take(4), true) : this.uint64());
    if (sizes.every(size => Number.isSafeInteger(size) && size >= 0)) return sizes;
    throw new GgufError(`${brief(key)}: got ${show(sizes)}, takes sizes`);
  }

  /** Passes over a value, of whatever type. */
  skip(key: string, type: number, depth = 0): void {
    if (type === STRING) {
      this.take(this.uint64());
    } else if (type === ARRAY && depth < MAX_DEPTH) {
      const [each, length] = [this.uint32(), this.uint64()];
      if (Object.hasOwn(VALUE_SIZES, each)) this.take(length * VALUE_SIZES[each]);
      else for (let i = 0; i < length; i++) this.skip(key, each, depth + 1);
    } else if (Object.hasOwn(VALUE_SIZES, type)) {
      this.take(VALUE_SIZES[type]);
    } else {
      throw new GgufError(`${brief(key)}: is a value of type ${type}, takes 0 to 12, and arrays of up to ${MAX_DEPTH} levels`);
    }
  }
}
