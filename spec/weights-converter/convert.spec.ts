import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import type { Model } from '../../lib/models/model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { torchShape } from '../../lib/weights/layouts.js';
import { byteSize, readSafetensors, readSafetensorsHeader, writeSafetensors, type Dtype } from '../../lib/weights/safetensors.js';
import { convertModel } from '../../weights-converter/convert.js';
import { describeOnDevices } from '../support/backends.js';
import { bytesSource, MemoryFolder } from '../support/memory_folder.js';

const unet = {
  _class_name: 'UNet2DConditionModel', block_out_channels: [8, 16], down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'], layers_per_block: 1, norm_num_groups: 4, attention_head_dim: 2, cross_attention_dim: 12,
};
const vae = {
  _class_name: 'AutoencoderKL', block_out_channels: [8, 8], layers_per_block: 1, norm_num_groups: 4, latent_channels: 4,
  down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'], up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'],
};
const textEncoder = {
  architectures: ['CLIPTextModel'], hidden_size: 12, intermediate_size: 24, num_attention_heads: 2, num_hidden_layers: 2, vocab_size: 30,
  max_position_embeddings: 7,
};

/** A torch file of the model's weights: float16 numbers that differ everywhere. */
async function torchWeights(model: Model<unknown>, dtype: Dtype = 'F16'): Promise<Uint8Array> {
  let word = 0;
  const tensors = [...model.parameterSpecs()].map(([name, spec]) => {
    const shape = torchShape(spec);
    return {
      name, dtype, shape, bytes: () => {
        const count = byteSize({ dtype: 'U8', shape });
        const words = dtype === 'F16' ? Uint16Array.from({ length: count }, () => 0x2000 + word++ % 0x1000) : Float32Array.from({ length: count }, () => word++ / 7);
        return new Uint8Array(words.buffer);
      },
    };
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeSafetensors(tensors, { format: 'pt' })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function pipelineFiles(): Promise<Record<string, Uint8Array | string>> {
  return {
    'README.md': '# A model',
    'model_index.json': JSON.stringify({
      _class_name: 'StableDiffusionPipeline', unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'],
      text_encoder: ['transformers', 'CLIPTextModel'], tokenizer: ['transformers', 'CLIPTokenizer'], scheduler: ['diffusers', 'PNDMScheduler'],
      safety_checker: ['stable_diffusion', 'StableDiffusionSafetyChecker'], feature_extractor: ['transformers', 'CLIPImageProcessor'],
    }),
    'unet/config.json': JSON.stringify(unet),
    'unet/diffusion_pytorch_model.safetensors': await torchWeights(new UNet2DConditionModel(unet)),
    'vae/config.json': JSON.stringify(vae),
    'vae/diffusion_pytorch_model.safetensors': await torchWeights(new AutoencoderKL(vae)),
    'text_encoder/config.json': JSON.stringify(textEncoder),
    'text_encoder/model.safetensors': await torchWeights(new CLIPTextModel(textEncoder)),
    'tokenizer/vocab.json': '{}',
    'tokenizer/merges.txt': '',
    'scheduler/scheduler_config.json': '{}',
  };
}

describeOnDevices('convertModel', () => {
  let root: string;
  let out: string;
  let files: Record<string, Uint8Array | string>;
  let folder: MemoryFolder;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'convert-'));
    files = await pipelineFiles();
  });
  after(() => rmSync(root, { recursive: true }));
  beforeEach(() => {
    out = join(root, `out${readdirSync(root).length}`);
    folder = new MemoryFolder(files);
  });
  afterEach(() => {
    assert.equal(folder.openSources, 0, 'files left open');
    assert.ok(!readdirSync(root).some(name => name.endsWith('.part')), 'an unfinished folder left');
  });

  async function values(source: string | MemoryFolder): Promise<Record<string, number[]>> {
    const all: Record<string, number[]> = {};
    for (const [Class, subfolder] of [[UNet2DConditionModel, 'unet'], [AutoencoderKL, 'vae'], [CLIPTextModel, 'text_encoder']] as const) {
      const model: Model<unknown> = await (Class as typeof UNet2DConditionModel).fromPretrained(source, { subfolder });
      for (const [path, value] of Object.entries(model.stateDict())) all[`${subfolder}.${path}`] = [...value.dataSync()];
      model.dispose();
    }
    return all;
  }

  it('writes a folder that loads to the same values, aligned for mapping', async () => {
    const tensors = tf.memory().numTensors;
    const progress: number[] = [];
    let total = 0;
    await convertModel(folder, out, { verify: true, onProgress: now => { progress.push(now.loaded); total = now.total; } });
    assert.equal(progress.at(-1), total);
    assert.deepEqual(progress, [...progress].sort((a, b) => a - b));
    assert.equal(tf.memory().numTensors, tensors, 'conversion makes no tensors');
    assert.deepEqual(await values(out), await values(folder));

    const header = await readSafetensorsHeader(bytesSource(readFileSync(join(out, 'unet/diffusion_pytorch_model.safetensors'))));
    assert.equal(header.metadata.format, 'tfjs');
    assert.match(header.metadata.made_by, /^tfjs-diffusers \d+\.\d+\.\d+/);
    for (const { dtype, offset, byteLength } of header.tensors.values()) {
      assert.equal(dtype, 'F16');
      assert.ok(byteLength % 64 !== 0 || offset % 64 === 0);
    }
    for (const path of ['README.md', 'unet/config.json', 'tokenizer/vocab.json', 'tokenizer/merges.txt', 'scheduler/scheduler_config.json']) {
      assert.equal(readFileSync(join(out, path), 'utf8'), files[path]);
    }
    const index = JSON.parse(readFileSync(join(out, 'model_index.json'), 'utf8'));
    assert.deepEqual(index.unet, ['diffusers', 'UNet2DConditionModel']);
    assert.deepEqual(index.safety_checker, [null, null]);
  });

  it('converts its own folders again, to the same bytes', async () => {
    await convertModel(folder, out);
    await convertModel(out, `${out}-again`, { verify: true });
    for (const path of ['unet/diffusion_pytorch_model.safetensors', 'text_encoder/model.safetensors', 'model_index.json']) {
      assert.deepEqual(readFileSync(join(out, path)), readFileSync(join(`${out}-again`, path)), path);
    }
  });

  it('converts a single network', async () => {
    const single = new MemoryFolder({ 'config.json': files['vae/config.json'], 'diffusion_pytorch_model.safetensors': files['vae/diffusion_pytorch_model.safetensors'] });
    await convertModel(single, out, { verify: true });
    assert.deepEqual(readdirSync(out).sort(), ['config.json', 'diffusion_pytorch_model.safetensors']);
    (await AutoencoderKL.fromPretrained(out)).dispose();
  });

  it('splits into shards', async () => {
    await convertModel(folder, out, { maxShardSize: 20_000, verify: true });
    const shards = readdirSync(join(out, 'unet')).filter(name => name.endsWith('.safetensors')).sort();
    assert.ok(shards.length > 1);
    assert.equal(shards[0], `diffusion_pytorch_model-00001-of-${String(shards.length).padStart(5, '0')}.safetensors`);
    for (const shard of shards) assert.ok(readFileSync(join(out, 'unet', shard)).length < 40_000);
    assert.deepEqual(await values(out), await values(folder));
  });

  it('changes the dtype', async () => {
    const expected = await values(folder);
    for (const dtype of ['float32', 'bfloat16'] as const) {
      await convertModel(folder, `${out}-${dtype}`, { dtype, verify: true });
      const actual = await values(`${out}-${dtype}`);
      for (const [path, numbers] of Object.entries(expected)) {
        numbers.forEach((number, i) => assert.ok(Math.abs(actual[path][i] - number) <= (dtype === 'float32' ? 0 : 2 ** -8 * number), path));
      }
    }
  });

  it('leaves nothing behind when the source breaks half-way', async () => {
    const breaking = new MemoryFolder(files);
    const open = breaking.open.bind(breaking);
    breaking.open = async path => {
      const source = await open(path);
      return { ...source, read: (offset, length) => path.startsWith('vae') && offset > 20_000 ? Promise.reject(new Error('disk gone')) : source.read(offset, length) };
    };
    await assert.rejects(convertModel(breaking, out), /disk gone/);
    assert.ok(!existsSync(out));
    assert.equal(breaking.openSources, 0);
  });

  it('writes over nothing', async () => {
    mkdirSync(out);
    await convertModel(folder, out); // empty
    await assert.rejects(convertModel(folder, out), /^Error: .*out\d+: exists already; name a folder that is new or empty$/);
    const file = join(root, 'file');
    writeFileSync(file, 'mine');
    await assert.rejects(convertModel(folder, file), /file: exists already/);
    await assert.rejects(convertModel(folder, join(file, 'out')), /file\/out: (exists already|cannot be written)/);
    assert.equal(readFileSync(file, 'utf8'), 'mine');
  });

  const refuses: Array<[string, Record<string, Uint8Array | string | undefined>, RegExp]> = [
    ['a folder of no model', { 'model_index.json': undefined }, /^ModelFileError: memory: has neither model_index\.json nor config\.json$/],
    ['an unknown component', { 'model_index.json': '{"unet_2":["diffusers","ControlNetModel"]}' }, /unet_2 is a 'ControlNetModel', which cannot be converted/],
    ['an index that is a list', { 'model_index.json': '[]' }, /memory\/model_index\.json: got \[\], takes an object/],
    ['a missing config', { 'vae/config.json': undefined }, /memory\/vae\/config\.json: there is no such file/],
    ['weights of another config', { 'vae/config.json': JSON.stringify({ ...vae, in_channels: 5 }) }, /^WeightsError: AutoencoderKL: the weights of .* do not fit: .*encoder\.conv_in\.weight/],
    ['a truncated file', { 'vae/diffusion_pytorch_model.safetensors': new Uint8Array(4) }, /^SafetensorsError: memory\/vae/],
  ];
  for (const [title, changes, message] of refuses) {
    it(`refuses ${title}, and writes nothing`, async () => {
      const changed = Object.fromEntries(Object.entries({ ...files, ...changes }).filter(([, content]) => content !== undefined)) as typeof files;
      await assert.rejects(convertModel(new MemoryFolder(changed), out), message);
      assert.ok(!existsSync(out));
    });
  }

  it('refuses a dtype that cannot hold a value, and an unknown one', async () => {
    const large = { ...files, 'vae/diffusion_pytorch_model.safetensors': await torchWeights(new AutoencoderKL({ ...vae }), 'F32') };
    const words = readSafetensors(large['vae/diffusion_pytorch_model.safetensors'] as Uint8Array);
    (words.tensors['decoder.conv_in.bias'].data as Float32Array)[0] = 70000; // a view of the file
    await assert.rejects(convertModel(new MemoryFolder(large), out, { dtype: 'float16' }), /^RangeError: decoder\.conv_in\.bias: its value 70000 is beyond float16/);
    await assert.rejects(convertModel(folder, out, { dtype: 'int8' as 'float16' }), /^RangeError: dtype: got 'int8', takes 'float32', 'float16', 'bfloat16'$/);
    await assert.rejects(convertModel(folder, out, { maxShardSize: 0 }), /^RangeError: maxShardSize: got 0/);
  });
});
