import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { encodeFloat16 } from '../../lib/core/float16.js';
import { readSafetensors, readSafetensorsHeader, writeSafetensors, type TensorToWrite } from '../../lib/weights/safetensors.js';
import { bytesSource } from '../support/memory_folder.js';

/** A file of the given header (any JSON text) and as many zero bytes of data. */
function file(header: unknown, dataLength = 0, headerLength?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataLength);
  new DataView(bytes.buffer).setBigUint64(0, headerLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const tensor = (begin: number, end: number, shape = [end - begin], dtype = 'U8') => ({ dtype, shape, data_offsets: [begin, end] });

async function join(chunks: AsyncGenerator<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

describe('readSafetensors', () => {
  const bytes = readFileSync('spec/golden/weights/dtypes.safetensors');
  const { tensors, metadata } = readSafetensors(bytes);

  it('reads every dtype as the safetensors library wrote it', () => {
    assert.equal(metadata.format, 'pt');
    assert.deepEqual(tensors.f16.data, tensors.f16_as_f32.data);
    assert.deepEqual(tensors.bf16.data, tensors.bf16_as_f32.data);
    assert.deepEqual(Float32Array.from(tensors.f64.data), tensors.f32.data);
    assert.deepEqual([...tensors.i64.data], [0, -1, 2 ** 53 - 1]);
    assert.deepEqual([...tensors.i32.data], [0, -1, 2 ** 31 - 1]);
    assert.deepEqual([...tensors.i16.data], [0, -1, 2 ** 15 - 1]);
    assert.deepEqual([...tensors.i8.data], [0, -1, 127]);
    assert.deepEqual([...tensors.u8.data], [0, 255]);
    assert.deepEqual([...tensors.bool.data], [1, 0, 1]);
  });

  it('takes scalars, empty tensors and any name', () => {
    assert.deepEqual(tensors.scalar, { dtype: 'F32', shape: [], data: Float32Array.of(2.5) });
    assert.deepEqual(tensors.empty, { dtype: 'F32', shape: [3, 0, 2], data: new Float32Array() });
    assert.deepEqual(Object.getOwnPropertyDescriptor(tensors, '__proto__')?.value.data, Float32Array.of(1, 1));
    assert.ok('name of "any" kind \u2603' in tensors);
  });

  it('reads the same from bytes at an odd address', () => {
    const shifted = new Uint8Array(bytes.length + 1).subarray(1);
    shifted.set(bytes);
    assert.deepEqual(readSafetensors(shifted), { tensors, metadata });
  });

  it('gives the header alone, whose ranges are those of the values', async () => {
    const header = await readSafetensorsHeader(bytesSource(bytes));
    assert.deepEqual(new Set(header.tensors.keys()), new Set(Object.keys(tensors)));
    const { offset, byteLength } = header.tensors.get('f32')!;
    assert.deepEqual(new Float32Array(new Uint8Array(bytes.subarray(offset, offset + byteLength)).buffer), tensors.f32.data);
  });

  it('takes files without tensors and with a padded header', () => {
    assert.deepEqual(readSafetensors(file('{}')), { metadata: {}, tensors: {} });
    assert.deepEqual(readSafetensors(file('{"__metadata__":{"a":"b"}}    ')), { metadata: { a: 'b' }, tensors: {} });
  });

  const hostile: Array<[string, Uint8Array, RegExp]> = [
    ['an empty file', new Uint8Array(), /^is no safetensors file: 0 bytes long, takes at least 8$/],
    ['a huge header', file('{}', 0, 2n ** 63n), /its header would be 9223372036854776000 bytes long, takes up to 100000000/],
    ['a header past the end', file('{}', 0, 3n), /^is cut off: its header ends at byte 11, the file at 10$/],
    ['a header that is no object', file('[]'), /does not begin with \{/],
    ['a header of spaces first', file(' {}'), /does not begin with \{/],
    ['broken JSON', file('{"a":}'), /^header: is not JSON: /],
    ['bytes that are not UTF-8', file('{"\u00e9":1}').with(10, 0xff), /^header: is not UTF-8$/],
    ['duplicate keys', file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), /^header: has the key 'a' twice$/],
    ['a deep header', file('{"a":'.repeat(100)), /^header: is nested over 64 levels deep$/],
    ['metadata of numbers', file({ __metadata__: { a: 1 } }), /^__metadata__: takes an object of strings$/],
    ['an unknown dtype', file({ a: tensor(0, 1, [1], 'F4') }, 1), /^'a': dtype 'F4' cannot be read, takes F64, F32/],
    ['a dtype of the prototype', file({ a: tensor(0, 1, [1], 'toString') }, 1), /dtype 'toString' cannot be read/],
    ['a negative size', file({ a: tensor(0, 1, [-1]) }, 1), /shape \[-1\], takes a list of whole numbers/],
    ['a fraction as size', file({ a: tensor(0, 1, [0.5]) }, 1), /shape \[0\.5\]/],
    ['an overflowing shape', file({ a: tensor(0, 1, [2 ** 32, 2 ** 32]) }, 1), /shape \[4294967296, 4294967296\] is too large/],
    ['a size of the wrong dtype', file({ a: tensor(0, 2, [2], 'F32') }, 2), /F32 \[2\] takes 8 bytes, data_offsets \[0, 2\] give 2/],
    ['offsets the wrong way', file({ a: tensor(2, 0, [0]) }, 2), /takes 0 bytes, data_offsets \[2, 0\] give -2/],
    ['three offsets', file({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1, 1] } }, 1), /takes \[begin, end\]/],
    ['an entry that is no object', file({ a: 1 }), /^'a': got 1, takes \{ dtype, shape, data_offsets \}$/],
    ['an entry without a shape', file({ a: { dtype: 'U8', data_offsets: [0, 1] } }, 1), /^'a': shape missing, takes \{ dtype, shape, data_offsets \}$/],
    ['an entry without a dtype', file({ a: { shape: [1], data_offsets: [0, 1] } }, 1), /^'a': dtype missing, takes/],
    ['an entry without offsets', file({ a: { dtype: 'U8', shape: [1] } }, 1), /^'a': data_offsets missing, takes/],
    ['overlapping tensors', file({ a: tensor(0, 4), b: tensor(2, 6) }, 6), /^'b': its data begins at 2, takes 4/],
    ['a hole', file({ a: tensor(0, 4), b: tensor(5, 6) }, 6), /^'b': its data begins at 5, takes 4/],
    ['a hole at the start', file({ a: tensor(1, 4) }, 4), /^'a': its data begins at 1, takes 0/],
    ['missing bytes', file({ a: tensor(0, 4) }, 3), /^is cut off: the tensors end at byte \d+, the file at \d+$/],
    ['bytes behind', file({ a: tensor(0, 4) }, 5), /^has bytes behind its last tensor/],
  ];
  for (const [title, content, message] of hostile) {
    it(`refuses ${title}`, async () => {
      const error = { name: 'SafetensorsError', message };
      assert.throws(() => readSafetensors(content), error);
      await assert.rejects(readSafetensorsHeader(bytesSource(content)), error);
    });
  }
});

describe('writeSafetensors', () => {
  const entry = (name: string, length: number): TensorToWrite =>
    ({ name, dtype: 'F32', shape: [length], bytes: () => new Uint8Array(Float32Array.from({ length }, (_, i) => i + length).buffer) });

  it('writes what the reader reads, each tensor aligned as far as its size allows', async () => {
    const sizes = { a: 1, b: 16, c: 3, d: 32, e: 0, f: 8, 'g "\u2603"': 4 };
    const bytes = await join(writeSafetensors(Object.entries(sizes).map(([name, length]) => entry(name, length)), { format: 'tfjs' }));
    const { tensors, metadata } = readSafetensors(bytes);
    assert.deepEqual(metadata, { format: 'tfjs' });
    assert.deepEqual(Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, shape[0]])), sizes);
    assert.deepEqual([...tensors.c.data], [3, 4, 5]);
    for (const { offset, byteLength } of (await readSafetensorsHeader(bytesSource(bytes))).tensors.values()) {
      assert.equal(offset % Math.min(64, byteLength ? byteLength & -byteLength : 64), 0);
    }
  });

  it('refuses a name that comes twice and bytes that do not fit', async () => {
    await assert.rejects(join(writeSafetensors([entry('a', 1), entry('a', 2)], {})), /^SafetensorsError: cannot write two tensors named 'a'$/);
    await assert.rejects(join(writeSafetensors([{ ...entry('a', 1), shape: [2] }], {})), /^SafetensorsError: a: got 4 bytes, takes 8 for F32 \[2\]$/);
  });
});

describe('encodeFloat16', () => {
  it('rounds as torch does, at the edges of the range too', () => {
    const { f32, f16_as_f32: expected } = readSafetensors(readFileSync('spec/golden/weights/dtypes.safetensors')).tensors;
    const bits = encodeFloat16(f32.data as Float32Array);
    const file = readSafetensors(readFileSync('spec/golden/weights/dtypes.safetensors')).tensors.f16;
    assert.deepEqual(file.data, expected.data);
    assert.deepEqual([...bits].map(word => word.toString(16)), [...rawFloat16()].map(word => word.toString(16)));
  });

  it('keeps every float16 value', () => {
    const values = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const decoded = readSafetensors(file16(values)).tensors.a.data as Float32Array;
    const again = encodeFloat16(decoded);
    values.forEach((bits, i) => { if (!Number.isNaN(decoded[i])) assert.equal(again[i], bits); });
  });

  function rawFloat16(): Uint16Array {
    const bytes = readFileSync('spec/golden/weights/dtypes.safetensors');
    const length = Number(bytes.readBigUInt64LE());
    const [begin, end] = JSON.parse(bytes.toString('utf8', 8, 8 + length)).f16.data_offsets;
    return new Uint16Array(new Uint8Array(bytes.subarray(8 + length + begin, 8 + length + end)).buffer);
  }

  function file16(values: Uint16Array): Uint8Array {
    const bytes = file({ a: tensor(0, values.byteLength, [values.length], 'F16') }, values.byteLength);
    bytes.set(new Uint8Array(values.buffer), bytes.length - values.byteLength);
    return bytes;
  }
});
