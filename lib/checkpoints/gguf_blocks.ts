import { float16Value } from '../core/float16.js';
import { zeroOf, type QuantizedMatrix } from '../core/quantized.js';

/**
 * The blocks of GGUF files: numbers in few bits with a scale each, of 32 or, in K-quants, of 256 numbers with scales for smaller groups.
 * All can be had as numbers of 4 or 8 bits, float32 scales and minimums, without a further rounding.
 */
export interface BlockFormat {
  readonly name: string;
  /** How many numbers a block has, and how many bytes. */
  readonly size: number;
  readonly bytes: number;
  /** What its numbers fit in: 0 to 15, or -128 to 127. */
  readonly bits: 4 | 8;
  /** How many numbers have a scale together. */
  readonly groupSize: number;
  /** Whether scales, and minimums, are float16 and lose nothing by it. */
  readonly halfScales: boolean;
  readonly hasMinimums: boolean;
  /** Reads the block that begins at `at`: `numbers` and `groups` say where what it holds is to be written. */
  read(block: Block, numbers: number, groups: number): void;
}

/** Bytes of blocks, where one of them begins, and what they are decoded to. */
interface Block {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly values: Uint8Array;
  readonly scales: Float32Array;
  readonly minimums: Float32Array;
}

/** What a tensor's blocks hold, in its order: `values` a byte each. */
export type DecodedBlocks = Pick<QuantizedMatrix, 'scales' | 'minimums'> & { readonly values: Uint8Array };

export function decodeBlocks(bytes: Uint8Array, format: BlockFormat): DecodedBlocks {
  const count = bytes.length / format.bytes;
  const numbers = count * format.size;
  const groups = numbers / format.groupSize;
  const values = new Uint8Array(numbers);
  const scales = new Float32Array(groups);
  const minimums = format.hasMinimums ? new Float32Array(groups) : undefined;
  const block = { bytes, at: 0, values, scales, minimums: minimums ?? scales.subarray(0, 0) };
  for (let i = 0; i < count; i++, block.at += format.bytes) {
    format.read(block, i * format.size, i * format.size / format.groupSize);
  }
  return { values, scales, minimums };
}

/** The numbers that decoded blocks stand for. */
export function widenBlocks({ values, scales, minimums }: DecodedBlocks, { bits, groupSize }: BlockFormat): Float32Array {
  const wide = new Float32Array(values.length);
  const numbers = bits === 8 ? new Int8Array(values.buffer) : values;
  for (let group = 0, i = 0; group < scales.length; group++) {
    const [scale, minimum] = [scales[group], minimums?.[group] ?? -zeroOf(bits) * scales[group]];
    for (const end = i + groupSize; i < end; i++) wide[i] = numbers[i] * scale + minimum;
  }
  return wide;
}

const half = ({ bytes, at }: Block, offset: number): number => float16Value(bytes[at + offset] | bytes[at + offset + 1] << 8);

/** The lower halves of some bytes, then their upper ones. */
function halves({ bytes, at, values }: Block, from: number, count: number, to: number): void {
  for (let i = 0; i < count; i++) {
    const byte = bytes[at + from + i];
    values[to + i] = byte & 15;
    values[to + count + i] = byte >> 4;
  }
}

/** A fifth bit of 32 numbers, from bits side by side. */
function fifthBits({ bytes, at, values }: Block, from: number, to: number): void {
  for (let i = 0; i < 32; i++) values[to + i] |= (bytes[at + from + (i >> 3)] >> (i & 7) & 1) << 4;
}

function shift(values: Uint8Array, from: number, count: number, by: number): void {
  for (let i = from; i < from + count; i++) values[i] += by; // in two's complement
}

/** The eight scales and minimums of Q4_K and Q5_K, of six bits each in twelve bytes. */
function sixBits(block: Block, from: number, groups: number): void {
  const { bytes, at, scales, minimums } = block;
  const [scale, minimum] = [half(block, 0), half(block, 2)];
  for (let i = 0; i < 4; i++) {
    const [a, b, both] = [0, 4, 8].map(offset => bytes[at + from + offset + i]);
    scales[groups + i] = scale * (a & 63);
    minimums[groups + i] = -minimum * (b & 63);
    scales[groups + 4 + i] = scale * (both & 15 | a >> 2 & 48);
    minimums[groups + 4 + i] = -minimum * (both >> 4 | b >> 2 & 48);
  }
}

/** Two bits of 256 numbers: in each half of the block a byte has those of four, 32 apart. */
function twoBits({ bytes, at, values }: Block, from: number, to: number): void {
  for (let i = 0; i < 256; i++) values[to + i] = bytes[at + from + (i >> 7) * 32 + (i & 31)] >> (i >> 5 & 3) * 2 & 3;
}

const FORMATS: readonly BlockFormat[] = [
  {
    name: 'Q4_0', size: 32, bytes: 18, bits: 4, groupSize: 32, halfScales: true, hasMinimums: false,
    read: (block, numbers, groups) => {
      block.scales[groups] = half(block, 0);
      halves(block, 2, 16, numbers);
    },
  },
  {
    name: 'Q4_1', size: 32, bytes: 20, bits: 4, groupSize: 32, halfScales: true, hasMinimums: true,
    read: (block, numbers, groups) => {
      block.scales[groups] = half(block, 0);
      block.minimums[groups] = half(block, 2);
      halves(block, 4, 16, numbers);
    },
  },
  {
    name: 'Q5_0', size: 32, bytes: 22, bits: 8, groupSize: 32, halfScales: true, hasMinimums: false,
    read: (block, numbers, groups) => {
      block.scales[groups] = half(block, 0);
      halves(block, 6, 16, numbers);
      fifthBits(block, 2, numbers);
      shift(block.values, numbers, 32, -16);
    },
  },
  {
    name: 'Q5_1', size: 32, bytes: 24, bits: 8, groupSize: 32, halfScales: true, hasMinimums: true,
    read: (block, numbers, groups) => {
      block.scales[groups] = half(block, 0);
      block.minimums[groups] = half(block, 2);
      halves(block, 8, 16, numbers);
      fifthBits(block, 4, numbers);
    },
  },
  {
    name: 'Q8_0', size: 32, bytes: 34, bits: 8, groupSize: 32, halfScales: true, hasMinimums: false,
    read: (block, numbers, groups) => {
      block.scales[groups] = half(block, 0);
      block.values.set(block.bytes.subarray(block.at + 2, block.at + 34), numbers);
    },
  },
  {
    name: 'Q2_K', size: 256, bytes: 84, bits: 4, groupSize: 16, halfScales: false, hasMinimums: true,
    read: (block, numbers, groups) => {
      const [scale, minimum] = [half(block, 80), half(block, 82)];
      for (let i = 0; i < 16; i++) {
        block.scales[groups + i] = scale * (block.bytes[block.at + i] & 15);
        block.minimums[groups + i] = -minimum * (block.bytes[block.at + i] >> 4);
      }
      twoBits(block, 16, numbers);
    },
  },
  {
    name: 'Q3_K', size: 256, bytes: 110, bits: 4, groupSize: 16, halfScales: false, hasMinimums: true,
    read: (block, numbers, groups) => {
      const { bytes, at, values } = block;
      const scale = half(block, 108);
      for (let i = 0; i < 16; i++) {
        const lower = bytes[at + 96 + (i & 7)] >> (i >> 3) * 4 & 15;
        const upper = bytes[at + 104 + (i & 3)] >> (i >> 2) * 2 & 3;
        block.scales[groups + i] = scale * ((lower | upper << 4) - 32);
        block.minimums[groups + i] = -4 * block.scales[groups + i];
      }
      twoBits(block, 32, numbers);
      for (let i = 0; i < 256; i++) values[numbers + i] |= (bytes[at + (i & 31)] >> (i >> 5) & 1) << 2;
    },
  },
  {
    name: 'Q4_K', size: 256, bytes: 144, bits: 4, groupSize: 32, halfScales: false, hasMinimums: true,
    read: (block, numbers, groups) => {
      sixBits(block, 4, groups);
      for (let i = 0; i < 4; i++) halves(block, 16 + 32 * i, 32, numbers + 64 * i);
    },
  },
  {
    name: 'Q5_K', size: 256, bytes: 176, bits: 8, groupSize: 32, halfScales: false, hasMinimums: true,
    read: (block, numbers, groups) => {
      const { bytes, at, values } = block;
      sixBits(block, 4, groups);
      for (let i = 0; i < 4; i++) halves(block, 48 + 32 * i, 32, numbers + 64 * i);
      for (let i = 0; i < 256; i++) values[numbers + i] |= (bytes[at + 16 + (i & 31)] >> (i >> 5) & 1) << 4;
    },
  },
  {
    name: 'Q6_K', size: 256, bytes: 210, bits: 8, groupSize: 16, halfScales: false, hasMinimums: false,
    read: (block, numbers, groups) => {
      const { bytes, at, values } = block;
      const scale = half(block, 208);
      for (let i = 0; i < 16; i++) block.scales[groups + i] = scale * (bytes[at + 192 + i] << 24 >> 24);
      for (let i = 0; i < 2; i++) halves(block, 64 * i, 64, numbers + 128 * i);
      for (let i = 0; i < 256; i++) values[numbers + i] |= (bytes[at + 128 + (i >> 7) * 32 + (i & 31)] >> (i >> 5 & 3) * 2 & 3) << 4;
      shift(values, numbers, 256, -32);
    },
  },
];

/** By their names. */
export const blockFormats: ReadonlyMap<string, BlockFormat> = new Map(FORMATS.map(format => [format.name, format]));
