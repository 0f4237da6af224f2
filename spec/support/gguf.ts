import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

type Shapes = Record<string, number[]>;

/** What the package gguf, diffusers and transformers give: see spec/golden/parts/gguf_files.py. */
export const ggufGolden: {
  blocks: Record<string, { digest: string; first: number[] }>;
  files: Record<'model' | 'unet', { digest: string; shapes: Shapes }>;
  inputs: Record<'sample' | 'states' | 'latents', number[]>;
  ids: number[][];
  outputs: Record<'unet' | 'single' | 'vae' | 'text', number[]>;
} = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/gguf.json.gz')).toString());

/** Of each type: its number, the numbers and bytes of a block, where its float16 scales are, and the bits of the smallest of them. */
const TYPES: Record<string, { number: number; size: number; bytes: number; places?: number[]; least?: number }> = {
  Q8_0: { number: 8, size: 32, bytes: 34, places: [0], least: 0x1000 },
  Q4_0: { number: 2, size: 32, bytes: 18, places: [0], least: 0x2000 },
  Q4_1: { number: 3, size: 32, bytes: 20, places: [0, 2], least: 0x2000 },
  Q5_0: { number: 6, size: 32, bytes: 22, places: [0], least: 0x1c00 },
  Q5_1: { number: 7, size: 32, bytes: 24, places: [0, 2], least: 0x1c00 },
  Q2_K: { number: 10, size: 256, bytes: 84, places: [80, 82], least: 0x1c00 },
  Q3_K: { number: 11, size: 256, bytes: 110, places: [108], least: 0x1400 },
  Q4_K: { number: 12, size: 256, bytes: 144, places: [0, 2], least: 0x0c00 },
  Q5_K: { number: 13, size: 256, bytes: 176, places: [0, 2], least: 0x0800 },
  Q6_K: { number: 14, size: 256, bytes: 210, places: [208], least: 0x0400 },
  F32: { number: 0, size: 1, bytes: 4 },
  F16: { number: 1, size: 1, bytes: 2 },
};
export const BLOCK_TYPES = Object.keys(TYPES).slice(0, 10);

/** A number below 65536, by a rule that the golden's Python knows too. */
const hash = (number: number, j: number) => Math.floor((31 * j * j + 17 * j + 131 * number) / 8) % 65536;

/** Blocks of `count` numbers. */
export function blocks(number: number, type: string, count: number): Uint8Array {
  const { size, bytes: perBlock, places, least } = TYPES[type];
  const bytes = Uint8Array.from({ length: count / size * perBlock }, (_, j) => hash(number, j) & 255);
  for (const place of places!) {
    for (let block = 0; block < count / size; block++) {
      const bits = least! + (hash(number + place, block) & 0x3ff);
      bytes.set([bits & 255, bits >> 8], block * perBlock + place);
    }
  }
  return bytes;
}

export interface TensorOfGguf {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: string;
  readonly bytes: Uint8Array;
}

/** A file as gguf's own writer makes it. */
export function gguf(tensors: readonly TensorOfGguf[], values: ReadonlyArray<readonly [key: string, type: number, bytes: Uint8Array]> = []): Uint8Array {
  const parts: Uint8Array[] = [];
  const uint = (value: number, bytes: 4 | 8) => {
    const buffer = Buffer.alloc(bytes);
    buffer.writeUInt32LE(value % 2 ** 32);
    if (bytes === 8) buffer.writeUInt32LE(Math.floor(value / 2 ** 32), 4);
    return buffer;
  };
  const text = (value: string) => Buffer.concat([uint(Buffer.byteLength(value), 8), Buffer.from(value)]);
  const pad = (length: number) => Buffer.alloc((32 - length % 32) % 32);
  parts.push(Buffer.from('GGUF'), uint(3, 4), uint(tensors.length, 8), uint(values.length, 8));
  for (const [key, type, bytes] of values) parts.push(text(key), uint(type, 4), bytes);
  let offset = 0;
  for (const { name, shape, type, bytes } of tensors) {
    parts.push(text(name), uint(shape.length, 4), ...[...shape].reverse().map(size => uint(size, 8)), uint(TYPES[type].number, 4), uint(offset, 8));
    offset += bytes.length + pad(bytes.length).length;
  }
  parts.push(pad(parts.reduce((sum, { length }) => sum + length, 0)));
  for (const { bytes } of tensors) parts.push(bytes, pad(bytes.length));
  return new Uint8Array(Buffer.concat(parts));
}

/** The golden's file of that name, to the last byte. */
export function ggufFile(name: 'model' | 'unet'): Uint8Array {
  const text = (value: string) => Buffer.concat([Buffer.from(new BigUint64Array([BigInt(value.length)]).buffer), Buffer.from(value)]);
  const values: Array<readonly [string, number, Uint8Array]> = [['general.architecture', 8, text('sd1')]];
  const tensors = Object.entries(ggufGolden.files[name].shapes).map(([key, shape], number): TensorOfGguf => {
    const count = shape.reduce((product, size) => product * size, 1);
    const rearranged = name === 'unet' && shape.length > 1 && count % 256 === 0 && shape.at(-1)! % 256 !== 0;
    if (rearranged) {
      const array = Buffer.concat([Buffer.from(Uint32Array.of(5).buffer), Buffer.from(new BigUint64Array([BigInt(shape.length)]).buffer), Buffer.from(Int32Array.from(shape).buffer)]);
      values.push([`comfy.gguf.orig_shape.${key}`, 9, array]);
    }
    const lies = rearranged ? [count / 256, 256] : shape;
    const wanted = BLOCK_TYPES[number % BLOCK_TYPES.length];
    const type = lies.length === 1 ? 'F32' : lies.at(-1)! % TYPES[wanted].size === 0 ? wanted : lies.at(-1)! % 32 === 0 ? 'Q8_0' : 'F16';
    if (type !== 'F32' && type !== 'F16') return { name: key, shape: lies, type, bytes: blocks(number, type, count) };
    const halves = Uint16Array.from({ length: count }, (_, j) => {
      const bits = hash(number, j);
      return 0x2400 + (bits & 0x7ff) | (bits >> 11 & 1) << 15;
    });
    if (type === 'F16') return { name: key, shape: lies, type, bytes: new Uint8Array(halves.buffer) };
    const floats = Float32Array.from(halves, bits => // 2^-6 to 2^-4, of either sign
      (key.endsWith('.weight') ? 1 : 0) + (bits & 0x8000 ? -1 : 1) * (1 + (bits & 1023) / 1024) * 2 ** ((bits >> 10 & 31) - 15));
    return { name: key, shape: lies, type, bytes: new Uint8Array(floats.buffer) };
  });
  return gguf(tensors, values);
}

export const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
