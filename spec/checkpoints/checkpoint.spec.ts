import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readCheckpoint } from '../../lib/checkpoints/checkpoint.js';
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

  it('says of a file that is broken what is broken in it', async () => {
    for (const length of [0x101, 0x280, 0x4b50]) {
      await assert.rejects(read('model.ckpt', safetensors(length).subarray(0, 100)), /^SafetensorsError: model\.ckpt: is cut off: its header ends at byte \d+, the file at 100$/);
    }
    for (const bytes of torch) await assert.rejects(read('model.safetensors', bytes.subarray(0, 300)), { name: 'PickleError' });
    await assert.rejects(read('model.safetensors', Buffer.from('<html>not found</html>')), /^SafetensorsError: model\.safetensors: is no safetensors file: its header would be/);
    await assert.rejects(read('model.ckpt', Buffer.from('<html>not found</html>')), /^PickleError: model\.ckpt: is neither a safetensors file nor one of torch\.save$/);
  });
});
