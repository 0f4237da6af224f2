import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readCheckpoint } from '../../lib/checkpoints/checkpoint.js';
import { GgufError } from '../../lib/checkpoints/gguf.js';
import { PickleError } from '../../lib/checkpoints/pickle_objects.js';
import { bytesOf } from '../../lib/core/bytes_of.js';
import { decodeTensor, SafetensorsError, writeSafetensors, type Dtype } from '../../lib/weights/safetensors.js';
import { bytesSource } from '../support/memory_folder.js';

/** A safetensors file of one tensor, whose header is filled up with spaces to a length. */
function safetensors(headerLength: number): Uint8Array {
  const bytes = new Uint8Array(8 + headerLength + 4).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerLength), true);
  new TextEncoder().encodeInto('{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes.subarray(8));
  return bytes;
}

const read = (name: string, bytes: Uint8Array) => readCheckpoint(name, async () => bytesSource(bytes));

describe('readCheckpoint', () => {
  const torch = ['state.ckpt', 'legacy.bin'].map(file => readFileSync(`spec/golden/checkpoints/${file}`));

  it('takes a safetensors file for one, whatever the length of its header and its name', async () => {
    const low = Array.from({ length: 256 }, (_, byte) => [0x100 + byte, 0x4b00 + byte]).flat(); // and with K behind, as in PK
    for (const length of [...low, 0x0280, 0x0580, 0x8a0280, 0x04034b50]) { // pickles' first bytes, and a zip's
      for (const name of length < 0x10000 ? ['model.safetensors', 'model.ckpt', 'model'] : ['model.ckpt']) {
        const { tensors } = await read(name, safetensors(length));
        assert.deepEqual([...tensors.keys()], ['weight'], `${name} with a header of ${length} bytes`);
      }
    }
  });

  it('takes a file of torch.save for one, whatever its name', async () => {
    for (const bytes of torch) {
      const [one, other] = await Promise.all(['model.ckpt', 'model.safetensors'].map(name => read(name, bytes)));
      assert.deepEqual([...one.tensors.keys()], [...other.tensors.keys()]);
      assert.ok(one.tensors.size > 15);
    }
  });

  it("multiplies floats of 8 bits by the scales that ComfyUI puts beside them", async () => {
    const file = async (tensors: Array<[name: string, dtype: Dtype, shape: number[], bytes: Uint8Array]>) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of writeSafetensors(tensors.map(([name, dtype, shape, bytes]) => ({ name, dtype, shape, bytes: () => bytes })), {})) chunks.push(chunk);
      return Buffer.concat(chunks);
    };
    const numbers = Uint8Array.of(0x38, 0x40, 0xb8, 0x01, 0x7e, 0); // 1, 2, -1, 2^-9, 448, 0
    const scale = (value: number, count = 1) => bytesOf(new Float32Array(count).fill(value));
    const none = new Uint8Array();
    for (const [scaled, inputs] of [['scale_weight', 'scale_input'], ['weight_scale', 'input_scale']]) {
      const bytes = await file([
        ['scaled_fp8', 'F8_E4M3', [0], none], ['a.weight', 'F8_E4M3', [2, 3], numbers], [`a.${scaled}`, 'F32', [], scale(0.25)], [`a.${inputs}`, 'F32', [1], scale(3)],
        ['a.comfy_quant', 'U8', [2], Uint8Array.of(123, 125)], ['b.weight', 'F8_E5M2', [1], Uint8Array.of(0x3e)],
      ]);
      const { tensors } = await read('model.safetensors', bytes);
      assert.deepEqual([...tensors].map(([name, { dtype, shape }]) => [name, dtype, shape]), [['a.weight', 'F32', [2, 3]], ['b.weight', 'F8_E5M2', [1]]]);
      assert.deepEqual([...decodeTensor('F32', await tensors.get('a.weight')!.read(bytesSource(bytes)))], [0.25, 0.5, -0.25, 2 ** -11, 112, 0]);
    }
    const wrong = async (...tensors: Parameters<typeof file>[0]) => read('model.safetensors', await file(tensors));
    await assert.rejects(wrong(['a.scale_weight', 'F32', [1], scale(1)]), /^RangeError: model\.safetensors: a\.scale_weight: is the scale of no weight that is floats of 8 bits$/);
    await assert.rejects(wrong(['a.weight', 'F8_E4M3', [6], numbers], ['a.weight_scale', 'F32', [2], scale(1, 2)]), /a\.weight_scale: got 2 numbers of F32, takes one of F32 for each weight$/);
  });

  it('throws the classes that are exported, also of a file that cannot be read', async () => {
    const broken: Array<[string, string, new (message: string) => Error]> = [
      ['a.gguf', 'GGUF', GgufError], ['a.safetensors', '<html>', SafetensorsError], ['a.ckpt', '<html>', PickleError],
    ];
    for (const [name, text, Class] of broken) {
      await assert.rejects(read(name, Buffer.from(text)), error => error instanceof Class && error.message.startsWith(`${name}: `) && error.stack!.includes(error.message));
    }
    const gone = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    const source = { size: 100, read: () => Promise.reject(gone), close: () => Promise.resolve() };
    await assert.rejects(readCheckpoint('a.ckpt', () => Promise.resolve(source)), error => error === gone && gone.message === 'a.ckpt: EIO: i/o error');
    const coloured = new Error('of \x1b[31m red\nand more');
    await assert.rejects(readCheckpoint('a.ckpt', () => Promise.resolve({ ...source, read: () => Promise.reject(coloured) })), { message: 'a.ckpt: of \\u001b[31m red\\u000aand more' });
  });

  it('says of a file that is broken what is broken in it', async () => {
    for (const length of [0x101, 0x280, 0x4b50]) {
      await assert.rejects(read('model.ckpt', safetensors(length).subarray(0, 100)), /^SafetensorsError: model\.ckpt: is cut off: its header ends at byte \d+, the file at 100$/);
    }
    for (const bytes of torch) await assert.rejects(read('model.safetensors', bytes.subarray(0, 300)), { name: 'PickleError' });
    await assert.rejects(read('model.safetensors', Buffer.from('<html>not found</html>')), /^SafetensorsError: model\.safetensors: is no safetensors file: its header would be/);
    await assert.rejects(read('model.ckpt', Buffer.from('<html>not found</html>')), /^PickleError: model\.ckpt: is neither a safetensors file nor one of torch\.save$/);
  });
});
