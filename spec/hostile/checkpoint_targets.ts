import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { ModelFolder } from '../../lib/files/model_folder.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { quantizedWeights } from '../../lib/weights/quantized_weights.js';
import { decodeTensor, readSafetensorsHeader } from '../../lib/weights/safetensors.js';
import { openWeightFiles } from '../../lib/loading/weight_files.js';
import { readCheckpoint, safetensorsView } from '../../lib/checkpoints/checkpoint.js';
import { checkpointFolder } from '../../lib/checkpoints/checkpoint_folder.js';
import { unpickle } from '../../lib/checkpoints/unpickle.js';
import { blocks, BLOCK_TYPES, gguf, type TensorOfGguf } from '../support/gguf.js';
import { bytesSource } from '../support/memory_folder.js';
import { golden, json, object, type Target } from './target.js';

const networks = { unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel };

/** Pickles, the zips around them, and single files, whose configs come from the shapes of strangers. */
export function checkpointTargets(): Target[] {
  const zip = golden('checkpoints/state.ckpt');
  const pickle = zip.subarray(zip.indexOf(0x80), zip.indexOf(0x80) + 2500);
  const saved = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/single_file.json.gz')).toString());
  const shapes = ['sd1', 'sd2'].map(generation => Object.fromEntries(
    Object.entries<number[]>(saved[generation].shapes).filter(([key]) => !key.startsWith('model_ema'))));
  const control = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/controlnet.json.gz')).toString());
  const controlShapes = [...Object.values<{ shapes: object }>(control.files), ...Object.values<{ shapes: object }>(control.published)].map(({ shapes }) => shapes);
  const sd3 = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/sd3.json.gz')).toString());
  return [
    { name: 'torch zip', isJson: false, seeds: [zip], read: readAll },
    { name: 'GGUF', isJson: false, seeds: ggufSeeds(), read: readAll },
    { name: 'old torch file', isJson: false, seeds: [golden('checkpoints/legacy.bin')], read: readAll },
    { name: 'pickle', isJson: false, seeds: [pickle, pickle.subarray(0, 300)], read: bytes => void unpickle(bytes) },
    {
      name: 'VAE checkpoint', isJson: false, seeds: [golden('checkpoints/vae.ckpt')],
      read: async bytes => {
        const folder = await checkpointFolder(await readCheckpoint('file', async () => bytesSource(bytes)));
        const files = await openWeightFiles(folder);
        await matchWeights('vae', new AutoencoderKL(await folder.readJson('config.json') as object).parameterSpecs(), files);
      },
    },
    {
      name: 'single-file pipeline', isJson: true, seeds: shapes.map(json),
      read: async bytes => {
        const folder = await folderOfShapes(bytes);
        for (const [subfolder, Network] of Object.entries(networks)) {
          const config = await folder.readJson(`${subfolder}/config.json`) as object;
          await matchWeights(subfolder, new Network(config).parameterSpecs(), await openWeightFiles(folder, { subfolder }));
        }
      },
    },
    {
      name: 'single-file SD3', isJson: true, seeds: [json(sd3.small.t5.shapes), json(sd3.small.clips.shapes)],
      read: async bytes => {
        const folder = await folderOfShapes(bytes);
        for (const subfolder of ['transformer', 'text_encoder_3', 'vae']) {
          if (await folder.has(`${subfolder}/config.json`)) await folder.readJson(`${subfolder}/config.json`);
          for (const { source } of await openWeightFiles(folder, { subfolder })) await readSafetensorsHeader(source);
        }
      },
    },
    {
      name: 'single-file ControlNet', isJson: true, seeds: controlShapes.map(json),
      read: async bytes => {
        const folder = await folderOfShapes(bytes);
        const config = await folder.readJson('config.json') as object;
        await matchWeights('controlnet', new ControlNetModel(config).parameterSpecs(), await openWeightFiles(folder));
      },
    },
  ];
}

/** Of a checkpoint with tensors of the shapes that a JSON says. */
async function folderOfShapes(bytes: Uint8Array): Promise<ModelFolder> {
  const entries = Object.entries(object(bytes));
  if (!entries.every(([, shape]) => Array.isArray(shape) && shape.every(size => Number.isSafeInteger(size) && size >= 0))) throw new TypeError('shape'); // as the header's reader checks
  const tensors = new Map(entries.map(([key, shape]) => [key, { dtype: 'F16' as const, shape, read: async () => new Uint8Array() }]));
  return checkpointFolder({ name: 'file', tensors, metadata: {}, open: async () => bytesSource(new Uint8Array()) });
}

async function readAll(bytes: Uint8Array): Promise<void> {
  const checkpoint = await readCheckpoint('file', async () => bytesSource(bytes));
  const source = await checkpoint.open();
  for (const { dtype, read, quantized } of checkpoint.tensors.values()) {
    decodeTensor(dtype, await read(source));
    for (const part of [quantized?.scales, quantized?.minimums, quantized?.widened]) if (part) decodeTensor(part.dtype, await part.read(source));
  }
  const view = safetensorsView(checkpoint.tensors, source);
  quantizedWeights(await readSafetensorsHeader(view));
}

/** Of all types, with values beside the tensors; and one whose header is most of it. */
function ggufSeeds(): Uint8Array[] {
  const tensors = BLOCK_TYPES.map((type, i): TensorOfGguf => ({ name: `${i}.weight`, shape: [8, 256], type, bytes: blocks(i, type, 2048) }));
  const shape = (...sizes: number[]) => new Uint8Array(Uint32Array.of(5, sizes.length, 0, ...sizes).buffer);
  const values = [
    ['general.alignment', 4, new Uint8Array(Uint32Array.of(32).buffer)], ['comfy.gguf.orig_shape.0.weight', 9, shape(16, 128)],
    ['a', 8, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 97)], ['b', 0, Uint8Array.of(1)],
  ] as const;
  const small = [
    { name: 'a', shape: [2], type: 'F32', bytes: new Uint8Array(8) }, { name: 'b', shape: [4, 32], type: 'Q8_0', bytes: blocks(0, 'Q8_0', 128) },
    { name: 'c', shape: [1, 2, 1, 2], type: 'F16', bytes: new Uint8Array(8) },
  ];
  return [gguf(tensors, values), gguf(small, values.slice(2))];
}
