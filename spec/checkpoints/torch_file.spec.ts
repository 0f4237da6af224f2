import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { decodeTensor } from '../../lib/weights/safetensors.js';
import type { ByteSource } from '../../lib/files/byte_source.js';
import { readCheckpoint } from '../../lib/checkpoints/checkpoint.js';
import { readTorchFile } from '../../lib/checkpoints/torch_file.js';
import { loadGolden } from '../support/golden.js';
import { bytesSource } from '../support/memory_folder.js';

const zip = readFileSync('spec/golden/checkpoints/state.ckpt');
const legacy = readFileSync('spec/golden/checkpoints/legacy.bin');

const learned = (file: string) => readFileSync(`spec/golden/textual_inversion/${file}`);

describe('readTorchFile', () => {
  const { tensors: expected } = loadGolden('checkpoints/state');

  for (const [title, bytes] of [['a zip', zip], ['the format before torch 1.6', legacy]] as const) {
    it(`reads ${title} as torch wrote it`, async () => {
      const source = bytesSource(bytes);
      const { tensors } = await readTorchFile(source);
      assert.ok(tensors.size > 15);
      for (const [name, tensor] of tensors) {
        assert.deepEqual([...tensor.shape], name === 'scalar' ? [] : [...expected[name].shape], name); // numpy makes a list of it
        assert.deepEqual([...decodeTensor(tensor.dtype, await tensor.read(source))], [...Array.from(expected[name].data)], name);
      }
    });
  }

  it('finds the tensors of a ParameterDict, and a tensor alone', async () => {
    const [expected] = (await readTorchFile(bytesSource(learned('hat.pt')))).tensors.values();
    for (const [file, name] of [['dictionary.pt', '*'], ['dictionary.bin', '<hat>'], ['stated.bin', '<hat>'], ['tensor.pt', '*']]) {
      const source = bytesSource(learned(file));
      const { tensors } = await readTorchFile(source);
      assert.deepEqual([...tensors.keys()], [name], file);
      assert.deepEqual(await tensors.get(name)!.read(source), await expected.read(bytesSource(learned('hat.pt'))), file);
    }
  });

  it('finds the name of a learned word', async () => {
    assert.deepEqual((await readTorchFile(bytesSource(learned('hat.pt')))).metadata, { name: 'hat' });
    assert.deepEqual((await readTorchFile(bytesSource(learned('dictionary.pt')))).metadata, {});
  });

  for (const file of ['float8.safetensors', 'float8.ckpt', 'float8_legacy.bin']) {
    it(`reads floats of 8 bits from ${file}`, async () => {
      const { tensors: values } = loadGolden('checkpoints/float8_values');
      const { tensors, open } = await readCheckpoint(file, async () => bytesSource(readFileSync(`spec/golden/checkpoints/${file}`)));
      assert.ok(tensors.size >= 2);
      const source = await open();
      for (const [name, tensor] of tensors) {
        assert.deepEqual(tensor.shape, [...values[name].shape], name);
        assert.deepEqual([...decodeTensor(tensor.dtype, await tensor.read(source))], Array.from(values[name].data), name);
      }
    });
  }

  it('finds the training step beside the weights, and leaves the rest out', async () => {
    const { tensors, globalStep } = await readTorchFile(bytesSource(zip));
    assert.equal(globalStep, 875000);
    assert.deepEqual(new Set(tensors.keys()), new Set(Object.keys(expected)));
  });

  /** The zip with a byte or more changed behind the first (or last) occurrence of a text. */
  function changed(search: string | Buffer, offset: number, replacement: string, { last = false } = {}): Buffer {
    const copy = Buffer.from(zip);
    const at = last ? copy.lastIndexOf(search) : copy.indexOf(search);
    assert.ok(at >= 0);
    copy.write(replacement, at + offset, 'latin1');
    return copy;
  }

  const central = Buffer.from('PK\x01\x02', 'latin1');
  const refuses: Array<[string, Uint8Array, RegExp]> = [
    ['an empty file', Buffer.alloc(0), /^is neither a safetensors file nor one of torch\.save$/],
    ['a text', Buffer.from('hello world'), /^is neither a safetensors file nor one of torch\.save$/],
    ['a pickle of one byte', Buffer.of(0x80), /is cut off at byte 1/],
    ['a zip that is cut off', zip.subarray(0, -200), /^cannot be read as a zip: /],
    ['a compressed entry', changed(central, 10, '\x08'), /its entry 'state\/data\.pkl' is compressed or encrypted/],
    ['an encrypted entry', changed(central, 8, '\x01'), /^cannot be read as a zip/],
    ['an entry past the end', changed(central, 42, '\xf0\xff\xff\x00'), /cannot be read as a zip/],
    ['a zip of something else', changed('state/data.pkl', 6, 'info.txt', { last: true }), /is a zip, but not of torch\.save/],
    ['big-endian numbers', changed('little', 0, 'biggie'), /big-endian/],
    ['a pickle that is cut off', legacy.subarray(0, 200), /is cut off/],
    ['storages that are cut off', legacy.subarray(0, -10), /is cut off in its storage/],
    ['a pickle of something else', Buffer.from('\x80\x02K\x01.', 'latin1'), /is no file of torch\.save/],
  ];
  for (const [title, bytes, message] of refuses) {
    it(`refuses ${title}`, async () => {
      await assert.rejects(readTorchFile(bytesSource(bytes)), { name: 'PickleError', message });
    });
  }

  it('names the file, and closes it', async () => {
    let open = 0;
    const source = (bytes: Uint8Array) => async (): Promise<ByteSource> => {
      open++;
      return { ...bytesSource(bytes), close: async () => { open--; } };
    };
    await assert.rejects(readCheckpoint('model.ckpt', source(zip.subarray(0, -9))), /^PickleError: model\.ckpt: cannot be read as a zip/);
    await assert.rejects(readCheckpoint('model.safetensors', source(Buffer.from('{}'))), /^SafetensorsError: model\.safetensors: is no safetensors file/);
    await readCheckpoint('model.ckpt', source(zip));
    assert.equal(open, 0);
  });
});
