import type { ParameterSpec } from '../../lib/core/parameter.js';
import { dequantize } from '../../lib/core/quantized.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { readQuantized } from '../../lib/weights/read_quantized.js';
import { byteSize, readSafetensors, readSafetensorsHeader, writeSafetensors } from '../../lib/weights/safetensors.js';
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
  const quantized = await quantizedFile();
  const quantizedHeader = quantized.subarray(8, 8 + Number(new DataView(quantized.buffer).getBigUint64(0, true)));
  return [
    {
      name: 'quantized safetensors', isJson: false, seeds: [quantized], read: readQuantizedFile,
    },
    {
      name: 'quantized safetensors header', isJson: true, seeds: [quantizedHeader],
      read: changed => {
        const length = Buffer.alloc(8);
        length.writeBigUInt64LE(BigInt(changed.length));
        return readQuantizedFile(new Uint8Array(Buffer.concat([length, changed, quantized.subarray(8 + quantizedHeader.length)])));
      },
    },
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

const QUANTIZED_SPECS: Map<string, ParameterSpec> = new Map([
  ['a.weight', { shape: [6, 8], layout: 'linear' }], ['b.weight', { shape: [3, 3, 2, 8], layout: 'conv' }], ['c.bias', { shape: [2], layout: 'plain' }],
]);

/** Weights of 8 bits by column, of 4 in groups, and of floats. */
async function quantizedFile(): Promise<Uint8Array> {
  const tensors = [
    ['a.weight', 'I8', [6, 8]], ['a.weight.scales', 'F32', [1, 8]], ['b.weight', 'U8', [3, 3, 2, 4]], ['b.weight.scales', 'F16', [5, 8]],
    ['b.weight.minimums', 'F16', [5, 8]], ['c.bias', 'F16', [2]],
  ] as const;
  const chunks: Uint8Array[] = [];
  const written = tensors.map(([name, dtype, shape]) => ({ name, dtype, shape, bytes: () => new Uint8Array(byteSize({ dtype, shape })).fill(0x11) }));
  for await (const chunk of writeSafetensors(written, { format: 'tfjs', quantized: '{"a.weight":6,"b.weight":4}' })) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

/** As loading does: what a matrix was promised to be it is. */
async function readQuantizedFile(bytes: Uint8Array): Promise<void> {
  for (const weight of await matchWeights('model', QUANTIZED_SPECS, [{ name: 'file', source: bytesSource(bytes) }])) {
    if (!weight.quantized) continue;
    const { length } = dequantize(await readQuantized(weight));
    if (length !== weight.spec.shape.reduce((product, size) => product * size)) throw new Error(`${weight.path} has ${length} numbers`);
  }
}
