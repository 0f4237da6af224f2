import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { readCheckpoint, type Checkpoint, type CheckpointTensor } from '../../lib/checkpoints/checkpoint.js';
import { checkpointFolder } from '../../lib/checkpoints/checkpoint_folder.js';
import { sd3Modules, sd3ModuleNames } from '../../lib/checkpoints/sd3_modules.js';
import type { ModelFolder } from '../../lib/files/model_folder.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { readSafetensorsHeader } from '../../lib/weights/safetensors.js';
import { openWeightFiles } from '../../lib/loading/weight_files.js';
import { blocks, gguf } from '../support/gguf.js';
import { bytesSource } from '../support/memory_folder.js';
import { digestsOf, singleFile } from '../support/single_file.js';

type Shapes = Record<string, number[]>;
type Config = Record<string, unknown>;

/** See spec/golden/parts/sd3_files.py. */
const golden: {
  published: Record<string, { shapes: Shapes; transformer: Config }>;
  small: Record<string, { shapes: Shapes; saved: Record<string, Record<string, string>>; configs: Record<string, Config> }>;
  /** Key of llama.cpp -> of transformers. */
  llama: Record<string, string>;
  modules: Record<string, Array<[path: string, ranges: Array<[number, number]>]>>;
} = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/sd3.json.gz')).toString());

const PREFIX = 'model.diffusion_model.';
const WEIGHTS = 'diffusion_pytorch_model.safetensors';

const folderOf = async (bytes: Uint8Array, name = 'model.safetensors') => checkpointFolder(await readCheckpoint(name, async () => bytesSource(bytes)));

/** A checkpoint of shapes alone. */
function checkpoint(shapes: Shapes): Checkpoint {
  const tensors = Object.entries(shapes).map(([key, shape]): [string, CheckpointTensor] => [key, { dtype: 'F16', shape, read: async () => new Uint8Array() }]);
  return { name: 'model.safetensors', tensors: new Map(tensors), metadata: {}, open: async () => bytesSource(new Uint8Array()) };
}

/** Those whose keys begin so, without that. */
const below = (shapes: Shapes, prefix: string): Shapes =>
  Object.fromEntries(Object.entries(shapes).filter(([key]) => key.startsWith(prefix)).map(([key, shape]) => [key.slice(prefix.length), shape]));

const readConfig = (folder: ModelFolder, path: string) => folder.readJson(path) as Promise<Config>;

describe('A single file of SD3', () => {
  for (const [name, { shapes, saved, configs }] of Object.entries(golden.small)) {
    it(`(${name}) holds what diffusers' from_single_file and save_pretrained make of it, to the last bit`, async () => {
      const folder = await folderOf(await singleFile(shapes));
      for (const [part, digests] of Object.entries(saved)) {
        const isText = part.startsWith('text');
        const found = await digestsOf(await folder.open(`${part}/${isText ? 'model.safetensors' : WEIGHTS}`));
        const { 'encoder.embed_tokens.weight': embedded, ...expected } = digests;
        if (part === 'text_encoder_3') assert.equal(embedded, expected['shared.weight']); // one tensor under two names
        assert.deepEqual(found, expected, part);
        const config = await readConfig(folder, `${part}/config.json`);
        for (const [key, value] of Object.entries(config)) {
          if (key !== '_class_name') assert.deepEqual(value, configs[part][key], `${part}: ${key}`);
        }
      }
    });
  }

  it('is a pipeline with the parts that it has', async () => {
    const index = async (name: string) => readConfig(await checkpointFolder(checkpoint(golden.small[name].shapes)), 'model_index.json');
    const whole: Config = {
      _class_name: 'StableDiffusion3Pipeline', transformer: ['diffusers', 'SD3Transformer2DModel'], vae: ['diffusers', 'AutoencoderKL'],
      scheduler: ['diffusers', 'FlowMatchEulerDiscreteScheduler'], text_encoder: ['transformers', 'CLIPTextModelWithProjection'],
      text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'], text_encoder_3: ['transformers', 'T5EncoderModel'],
      tokenizer: ['transformers', 'CLIPTokenizer'], tokenizer_2: ['transformers', 'CLIPTokenizer'], tokenizer_3: [null, null],
    };
    assert.deepEqual(await index('t5'), whole);
    assert.deepEqual(await index('clips'), { ...whole, text_encoder_3: [null, null] });
    const folder = await checkpointFolder(checkpoint(golden.small.t5.shapes));
    const { num_train_timesteps: steps, shift } = await readConfig(folder, 'scheduler/scheduler_config.json');
    assert.deepEqual([steps, shift], [1000, 3]);
    for (const [subfolder, pad] of [['tokenizer', 49407], ['tokenizer_2', 0]] as const) {
      const tokenizer = await CLIPTokenizer.fromPretrained(folder, { subfolder });
      assert.deepEqual(tokenizer.encode('a cat')[0].slice(0, 5), [49406, 320, 2368, 49407, pad]);
    }
  });

  it('has networks that its configs describe', async () => {
    const folder = await folderOf(await singleFile(golden.small.t5.shapes));
    for (const [subfolder, Network] of Object.entries({
      vae: AutoencoderKL, text_encoder: CLIPTextModelWithProjection, text_encoder_2: CLIPTextModelWithProjection,
    })) {
      const specs = new Network(await readConfig(folder, `${subfolder}/config.json`)).parameterSpecs();
      await matchWeights(subfolder, specs, await openWeightFiles(folder, { subfolder })); // strict
    }
  });

  it('says what is missing when that is asked for', async () => {
    const folder = await checkpointFolder(checkpoint(below(golden.small.alone.shapes, PREFIX)));
    assert.equal(await folder.has('model_index.json'), false); // without its prefix it is the one network
    const pipeline = await checkpointFolder(checkpoint(golden.published.sd35_large.shapes));
    await assert.rejects(pipeline.has('text_encoder/config.json'),
      /^ModelFileError: model\.safetensors: has no text encoder \(text_encoders\.clip_l\.transformer\.\*\); give it or its file as the option textEncoder; it has no textEncoder2, nor textEncoder3 \(null goes without\) either$/);
    await assert.rejects(pipeline.has('text_encoder_2/config.json'), /\(text_encoders\.clip_g\.transformer\.\*\); .* option textEncoder2; it has no textEncoder, nor textEncoder3 \(null goes without\) either$/);
    await assert.rejects(pipeline.has('vae/config.json'), /has no VAE \(first_stage_model\.\*\)/);
    await assert.rejects(pipeline.has('text_encoder_3/config.json'), /has no T5 \(text_encoders\.t5xxl\.transformer\.\*\); give it or its file, or null to go without, as the option textEncoder3$/);
    await assert.rejects(pipeline.has('tokenizer_3/spiece.model'), /has no tokenizer for T5, as no single file has; .* option tokenizer3$/);
    assert.equal(await pipeline.has('tokenizer/vocab.json'), true);
    const flow = checkpointFolder(checkpoint(golden.published.sd35_large.shapes), { predictionType: 'epsilon' });
    await assert.rejects(flow, /predictionType: got 'epsilon', SD3 predicts the flow and takes none$/);
  });

  for (const [name, { shapes, transformer }] of Object.entries(golden.published)) {
    it(`of the size of ${name} has the config for which diffusers takes its weights`, async () => {
      const { _class_name: className, ...found } = await readConfig(await checkpointFolder(checkpoint(shapes)), 'transformer/config.json');
      assert.equal(className, 'SD3Transformer2DModel');
      assert.deepEqual(found, transformer);
    });
  }
});

describe('A transformer of SD3 alone', () => {
  const { shapes, saved } = golden.small.clips;

  it('is taken without its prefix, as files for ComfyUI have it', async () => {
    const own = below(shapes, PREFIX);
    const folder = await folderOf(await singleFile(own));
    const { transformer } = golden.small.clips.configs;
    const { _class_name: className, ...config } = await readConfig(folder, 'config.json');
    assert.deepEqual([className, config], ['SD3Transformer2DModel', transformer]);
    assert.deepEqual(await digestsOf(await folder.open(WEIGHTS)), saved.transformer); // they come first in either file: values go by the place
  });

  it('stays in fewer bits from GGUF, where queries, keys and values part and shift and scale change places', async () => {
    const tensors = Object.entries(below(golden.small.alone.shapes, PREFIX)).map(([name, shape], i) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const type = shape.length === 2 && shape[1] % 32 === 0 ? 'Q8_0' : 'F32';
      return { name, shape, type, bytes: type === 'F32' ? new Uint8Array(new Float32Array(count).fill(i).buffer) : blocks(i, type, count) };
    });
    const folder = await folderOf(gguf(tensors), 'sd3.gguf');
    const source = await folder.open(WEIGHTS);
    const { tensors: found } = await readSafetensorsHeader(source);
    const numbers = async (key: string) => source.read(found.get(key)!.offset, found.get(key)!.byteLength);
    const original = (name: string) => { // 34 bytes for 32 numbers, after a scale of two
      const { bytes, shape } = tensors.find(each => each.name === name)!;
      const [rows, columns] = shape;
      return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, i) => bytes[(row * columns + i - i % 32) / 32 * 34 + 2 + i % 32]));
    };
    const qkv = original('joint_blocks.1.context_block.attn.qkv.weight');
    for (const [i, part] of ['q', 'k', 'v'].entries()) {
      const key = `transformer_blocks.1.attn.add_${part}_proj.weight`;
      assert.deepEqual([found.get(key)!.dtype, found.get(key)!.shape, found.get(`${key}.scales`)!.shape], ['I8', [64, 64], [64, 2]]);
      assert.deepEqual([...await numbers(key)], qkv.slice(64 * i, 64 * (i + 1)).flat());
    }
    const norm = original('final_layer.adaLN_modulation.1.weight');
    assert.deepEqual([...await numbers('norm_out.linear.weight')], [...norm.slice(64), ...norm.slice(0, 64)].flat());
    assert.deepEqual(found.get('pos_embed.pos_embed')!.shape, [1, 16, 64]);
  });

  it('in diffusers\' keys is told how it is built', async () => {
    const keys = { 'transformer_blocks.0.attn.to_q.weight': [64, 64] };
    await assert.rejects(checkpointFolder(checkpoint(keys)), /is one file of a model in diffusers' layout: load the folder/);
    const config = { _class_name: 'SD3Transformer2DModel', num_layers: 1 };
    const folder = await checkpointFolder(checkpoint(keys), { config });
    assert.deepEqual(await folder.readJson('config.json'), config);
    assert.equal(await folder.has(WEIGHTS), true);
  });

  it('has modules that lead where diffusers\' conversion puts their rows', () => {
    for (const [name, expected] of Object.entries(golden.modules)) {
      const last = expected.flatMap(([, ranges]) => ranges.map(([, end]) => end));
      const rows = Math.max(...last);
      const found = sd3Modules(name, 3)!.map(({ path, rows: { of, take } }) => [path, take.map(part => [part * rows / of, (part + 1) * rows / of])]);
      assert.deepEqual(found, expected, name);
    }
    assert.deepEqual(Object.keys(golden.modules).filter(name => !sd3ModuleNames(3).includes(name)), []);
    assert.equal(sd3Modules('joint_blocks.0.x_block.constructor', 3), undefined);
  });

  const big = golden.published.sd3_medium.shapes;
  const refuses: Array<[string, Shapes, RegExp]> = [
    ['a table of places that is no square', { ...big, [`${PREFIX}pos_embed`]: [1, 36865, 1536] },
      /^ModelFileError: model\.safetensors: transformer: has 24 heads, 192\.0\d+ patches on a side and 16 channels, takes whole numbers$/],
    ['a width that is no whole heads', { ...big, [`${PREFIX}x_embedder.proj.weight`]: [1500, 16, 2, 2] }, /has 23\.4375 heads/],
    ['no patches', { ...big, [`${PREFIX}x_embedder.proj.weight`]: [1536, 16] }, /and NaN channels, takes whole numbers/],
    ['rows that cannot be parted', { ...big, [`${PREFIX}joint_blocks.3.x_block.attn.qkv.weight`]: [4609, 1536] },
      /transformer: joint_blocks\.3\.x_block\.attn\.qkv\.weight has the shape \[4609, 1536\], takes rows in 3 equal parts$/],
    ['a missing end', Object.fromEntries(Object.entries(big).filter(([key]) => !key.includes('final_layer'))), /transformer: the checkpoint has no final_layer\.linear\.weight$/],
    ['a weight that comes twice', { ...big, [`${PREFIX}pos_embed.pos_embed`]: [1, 36864, 1536] }, /another weight is called pos_embed\.pos_embed already/],
    ['another vocabulary', { ...golden.small.clips.shapes, 'text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight': [100, 64] }, /knows 100 tokens/],
    ['a CLIP that projects nothing', Object.fromEntries(Object.entries(golden.small.clips.shapes).filter(([key]) => !key.includes('text_projection'))),
      /text encoder: the checkpoint has no text_projection\.weight$/],
    ['another T5', { ...golden.small.t5.shapes, 'text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight': [32, 7] },
      /T5: has 7 heads over 24 features, takes as many in each$/],
  ];
  for (const [title, shapes, message] of refuses) {
    it(`refuses ${title}`, async () => {
      await assert.rejects(checkpointFolder(checkpoint(shapes)), message);
    });
  }
});

describe('T5 and the VAE of SD3 alone', () => {
  const { shapes, configs } = golden.small.t5;

  it('are taken as files for ComfyUI have them', async () => {
    const t5 = below(shapes, 'text_encoders.t5xxl.transformer.');
    for (const changed of [t5, { ...t5, 'decoder.block.0.layer.0.SelfAttention.q.weight': [24, 24] }]) {
      const folder = await checkpointFolder(checkpoint(changed));
      const config = await readConfig(folder, 'config.json');
      for (const [key, value] of Object.entries(config)) assert.deepEqual(value, configs.text_encoder_3[key], key);
      const { tensors } = await readSafetensorsHeader(await folder.open('model.safetensors'));
      assert.deepEqual([...tensors.keys()].sort(), Object.keys(golden.small.t5.saved.text_encoder_3).filter(key => !key.includes('embed_tokens')));
    }
    const llama = Object.fromEntries(Object.entries(golden.llama).map(([key, name]) => [key, t5[name]]));
    const folder = await checkpointFolder(checkpoint(llama));
    const { tensors } = await readSafetensorsHeader(await folder.open('model.safetensors'));
    assert.deepEqual([...tensors.keys()], Object.values(golden.llama));
    assert.deepEqual(await readConfig(folder, 'config.json'), await readConfig(await checkpointFolder(checkpoint(t5)), 'config.json'));
    const vae = await checkpointFolder(checkpoint(below(shapes, 'first_stage_model.')));
    const { scaling_factor: scale, shift_factor: shift } = await readConfig(vae, 'config.json');
    assert.deepEqual([scale, shift], [1.5305, 0.0609]);
  });
});
