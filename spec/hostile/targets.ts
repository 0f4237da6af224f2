import { readFileSync } from 'node:fs';
import { Image } from '../../lib/image/image.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { decodeTensor, readSafetensors, readSafetensorsHeader, writeSafetensors } from '../../lib/weights/safetensors.js';
import { parseLora } from '../../lib/weights/lora_weights.js';
import { readStateDict } from '../../lib/weights/state_dict.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { closeWeightFiles, openWeightFiles } from '../../lib/weights/weight_files.js';
import { readCheckpoint } from '../../weights-converter/checkpoint.js';
import { checkpointFolder } from '../../weights-converter/checkpoint_folder.js';
import { unpickle } from '../../weights-converter/unpickle.js';
import { bytesSource, MemoryFolder } from '../support/memory_folder.js';
import { idat, pngChunk, pngFile } from '../support/png.js';
import { hubTargets } from './hub_targets.js';
import { pipelineTargets } from './pipeline_targets.js';
import { json, object, parse, type Target } from './target.js';

const file = (path: string): Uint8Array => new Uint8Array(readFileSync(`spec/golden/${path}`));

/** A small safetensors file, whose header is most of it. */
async function smallSafetensors(names: string[]): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const tensors = names.map((name, i) => ({ name, dtype: 'F16' as const, shape: [2, i], bytes: () => new Uint8Array(4 * i) }));
  for await (const chunk of writeSafetensors(tensors, { format: 'pt', note: 'x' })) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

/** A LoRA of one layer, as peft writes it. */
async function smallLora(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const tensors = [['unet.a.lora_A.weight', 1, 4], ['unet.a.lora_B.weight', 2, 1], ['unet.a.alpha', 1, 1]].map(([name, ...shape]) =>
    ({ name: name as string, dtype: 'F32' as const, shape: shape as number[], bytes: () => new Uint8Array(4 * (shape as number[])[0] * (shape as number[])[1]) }));
  const metadata = { lora_adapter_metadata: JSON.stringify({ 'unet.lora_alpha': 2, 'unet.alpha_pattern': { a: 3 }, 'unet.use_rslora': true }) };
  for await (const chunk of writeSafetensors(tensors, metadata)) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

async function readAllOfCheckpoint(bytes: Uint8Array): Promise<void> {
  const checkpoint = await readCheckpoint('file', async () => bytesSource(bytes));
  const source = await checkpoint.open();
  for (const { dtype, read } of checkpoint.tensors.values()) decodeTensor(dtype, await read(source));
}

/** The JSON text alone, out of the golden of the tokenizer. */
function tokenizerFile(name: string): Uint8Array {
  const { metadata } = readSafetensors(file('tokenizer/clip.safetensors'));
  return json(JSON.parse(metadata.meta).folders.json.files[name]);
}

/** A PNG file out of the golden of pictures. */
function picture(name: string): Uint8Array {
  return Uint8Array.from(readSafetensors(file('pictures/pictures.safetensors')).tensors[`${name}/png`].data);
}

export async function hostileTargets(): Promise<Target[]> {
  const small = await smallSafetensors(['a', 'b.weight', 'c', 'd']);
  const zip = file('checkpoints/state.ckpt');
  const pickle = zip.subarray(zip.indexOf(0x80), zip.indexOf(0x80) + 2500);
  const specs = new Map([['a', { shape: [2, 0], layout: 'plain' as const }], ['b.weight', { shape: [1, 2], layout: 'linear' as const }],
    ['c', { shape: [2, 2], layout: 'plain' as const }], ['d', { shape: [3, 2], layout: 'linear' as const }]]);
  const unet = { block_out_channels: [32, 64], layers_per_block: 1, cross_attention_dim: 8, attention_head_dim: [2, 4], down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'], norm_num_groups: 8, norm_eps: 1e-5, use_linear_projection: true, sample_size: 8, act_fn: 'silu', mid_block_type: null };
  const vae = { block_out_channels: [8, 8], layers_per_block: 1, norm_num_groups: 4, down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
    up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'], scaling_factor: 0.18, latents_mean: null };
  const text = { vocab_size: 30, hidden_size: 12, intermediate_size: 24, num_attention_heads: 2, num_hidden_layers: 2, max_position_embeddings: 7, hidden_act: 'gelu' };
  const index = { metadata: { total_size: 5 }, weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } };
  return [
    {
      name: 'safetensors', isJson: false, seeds: [small, file('weights/dtypes.safetensors').subarray(0, 2000), await smallSafetensors([])],
      read: async bytes => {
        readSafetensors(bytes);
        const source = bytesSource(bytes);
        for (const { offset, byteLength } of (await readSafetensorsHeader(source)).tensors.values()) await source.read(offset, byteLength);
      },
    },
    {
      name: 'safetensors header', isJson: true, seeds: [small.subarray(8, 8 + Number(new DataView(small.buffer).getBigUint64(0, true)))],
      read: async header => {
        const bytes = new Uint8Array(8 + header.length + 24);
        new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
        bytes.set(header, 8);
        readSafetensors(bytes);
        await matchWeights('model', specs, [{ name: 'file', source: bytesSource(bytes) }]);
      },
    },
    { name: 'torch zip', isJson: false, seeds: [zip], read: readAllOfCheckpoint },
    { name: 'old torch file', isJson: false, seeds: [file('checkpoints/legacy.bin')], read: readAllOfCheckpoint },
    { name: 'pickle', isJson: false, seeds: [pickle, pickle.subarray(0, 300)], read: bytes => void unpickle(bytes) },
    {
      name: 'VAE checkpoint', isJson: false, seeds: [file('checkpoints/vae.ckpt')],
      read: async bytes => {
        const folder = await checkpointFolder(await readCheckpoint('file', async () => bytesSource(bytes)));
        const files = await openWeightFiles(folder);
        await matchWeights('vae', new AutoencoderKL(await folder.readJson('config.json') as object).parameterSpecs(), files);
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
    { name: 'UNet config', isJson: true, seeds: [json(unet)], read: bytes => void new UNet2DConditionModel(object(bytes)).parameterSpecs() },
    { name: 'VAE config', isJson: true, seeds: [json(vae)], read: bytes => void new AutoencoderKL(object(bytes)).parameterSpecs() },
    { name: 'text encoder config', isJson: true, seeds: [json(text)], read: bytes => void new CLIPTextModel(object(bytes)).parameterSpecs() },
    {
      name: 'tokenizer.json', isJson: true, seeds: [tokenizerFile('tokenizer.json')],
      read: bytes => void CLIPTokenizer.fromFiles({ tokenizerJson: parse('tokenizer.json', bytes) }).encode('A cat, \u732b \ud83d\udc31!'),
    },
    {
      name: 'tokenizer_config.json', isJson: true, seeds: [tokenizerFile('tokenizer_config.json')],
      read: bytes => {
        const tokenizerJson = parse('tokenizer.json', tokenizerFile('tokenizer.json'));
        CLIPTokenizer.fromFiles({ tokenizerJson }, parse('tokenizer_config.json', bytes)).encode('A cat');
      },
    },
    {
      name: 'merges.txt', isJson: false, seeds: [new TextEncoder().encode('#version: 0.2\na b\nab c</w>\n')],
      read: bytes => void CLIPTokenizer.fromFiles({ vocab: { a: 0, b: 1, ab: 2, 'c</w>': 3, 'abc</w>': 4, '<|startoftext|>': 5, '<|endoftext|>': 6 },
        merges: new TextDecoder().decode(bytes) }).encode('abc'),
    },
    {
      name: 'LoRA', isJson: false, seeds: [await smallLora()],
      read: async bytes => {
        const stateDict = await readStateDict(new MemoryFolder({ 'lora.safetensors': bytes }), 'lora.safetensors');
        parseLora(stateDict, { unet: new Map([['a.weight', { shape: [4, 2], layout: 'linear' }]]), text_encoder: new Map() });
      },
    },
    { name: 'PNG', isJson: false, seeds: [picture('texts'), picture('colour 3, 4 bits, interlaced')], read: async bytes => void await Image.fromPng(bytes) },
    {
      name: 'PNG behind its checksums', isJson: false, seeds: [Uint8Array.of(0, 0, 0, 5, 0, 0, 0, 3, 8, 2, 0, 0, 1, ...Array<number>(52).fill(1))],
      read: async bytes => void await Image.fromPng(pngFile(
        pngChunk('IHDR', bytes.subarray(0, 13)), pngChunk('PLTE', bytes.subarray(13, 25)), idat(bytes.subarray(13)), pngChunk('iTXt', bytes.subarray(20)))),
    },
    ...pipelineTargets(),
    ...hubTargets(),
  ];
}
