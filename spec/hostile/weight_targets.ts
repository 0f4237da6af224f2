import { matchWeights } from '../../lib/weights/load_weights.js';
import { readSafetensors, readSafetensorsHeader } from '../../lib/weights/safetensors.js';
import { closeWeightFiles, openWeightFiles } from '../../lib/loading/weight_files.js';
import { bytesSource, MemoryFolder } from '../support/memory_folder.js';
import { golden, json, safetensors, type Target } from './target.js';

/** safetensors files, and the index that says which of them a model is made of. */
export async function weightTargets(): Promise<Target[]> {
  const small = await safetensors({ 'a': [2, 0], 'b.weight': [2, 1], 'c': [2, 2], 'd': [2, 3] }, { format: 'pt', note: 'x' });
  const header = small.subarray(8, 8 + Number(new DataView(small.buffer).getBigUint64(0, true)));
  const specs = new Map([['a', { shape: [2, 0], layout: 'plain' as const }], ['b.weight', { shape: [1, 2], layout: 'linear' as const }],
    ['c', { shape: [2, 2], layout: 'plain' as const }], ['d', { shape: [3, 2], layout: 'linear' as const }]]);
  const index = { metadata: { total_size: 5 }, weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
  return [
    {
      name: 'safetensors', isJson: false, seeds: [small, golden('weights/dtypes.safetensors').subarray(0, 2000), golden('checkpoints/state.safetensors.gz'), await safetensors({})],
      read: async bytes => {
        readSafetensors(bytes);
        const source = bytesSource(bytes);
        for (const { offset, byteLength } of (await readSafetensorsHeader(source)).tensors.values()) await source.read(offset, byteLength);
      },
    },
    {
      name: 'safetensors header', isJson: true, seeds: [header],
      read: async changed => {
        const bytes = new Uint8Array(8 + changed.length + 48);
        new DataView(bytes.buffer).setBigUint64(0, BigInt(changed.length), true);
        bytes.set(changed, 8);
        readSafetensors(bytes);
        await matchWeights('model', specs, [{ name: 'file', source: bytesSource(bytes) }]);
      },
    },
    {
      name: 'shard index', isJson: true, seeds: [json(index)],
      read: async bytes => {
        const folder = new MemoryFolder({
          'unet/model.safetensors.index.json': bytes,
          'unet/model-00001-of-00002.safetensors': small, 'unet/model-00002-of-00002.safetensors': small, 'secret.safetensors': small,
        });
        const files = await openWeightFiles(folder, { subfolder: 'unet' });
        if (files.some(({ name }) => !name.startsWith('memory/unet/'))) throw new Error(`left the folder: ${files.map(({ name }) => name).join()}`);
        await closeWeightFiles(files);
      },
    },
  ];
}
