import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { CLIPVisionModelWithProjection } from '../../lib/models/clip_vision_model.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { ControlNetUnionModel } from '../../lib/models/controlnet_union.js';
import type { Model } from '../../lib/models/model.js';
import { T2IAdapter } from '../../lib/models/t2i_adapter.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { torchShape } from '../../lib/weights/layouts.js';
import { byteSize, readSafetensors, readSafetensorsHeader, writeSafetensors, type Dtype } from '../../lib/weights/safetensors.js';
import { convertModel } from '../../weights-converter/convert.js';
import { describeOnDevices } from '../support/backends.js';
import { checkedModel } from '../support/checked_model.js';
import { DEMO_CONTROLNET, DEMO_IP_ADAPTER, DEMO_MODEL } from '../support/demo_model.js';
import { bytesSource, MemoryFolder } from '../support/memory_folder.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { TINY_UNION } from '../support/tiny_pipeline.js';

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

function valuesOf(model: Model<unknown>): Record<string, number[]> {
  return Object.fromEntries(Object.entries(model.stateDict()).map(([path, value]) => [path, [...value.dataSync()]]));
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

describe('convertModel', () => {
  const folder = temporaryFolder();

  for (const [moment, after] of [['at its first weight', 0], ['while it writes', 0.3], ['while it verifies', 0.7], ['at its last', 1]] as const) {
    it(`leaves nothing that loads when it is killed ${moment}`, async () => {
      const script = `import { convertModel } from ${JSON.stringify(new URL('../../weights-converter/convert.js', import.meta.url))};
        const onProgress = ({ loaded, total }) => { if (loaded >= ${after} * total) process.kill(process.pid, 'SIGKILL'); };
        await convertModel(${JSON.stringify(DEMO_MODEL)}, ${JSON.stringify(join(folder(), 'out'))}, { verify: true, onProgress });`;
      const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
      assert.equal(signal, 'SIGKILL');
      const [left, ...others] = readdirSync(folder());
      assert.match(left, /^out\.\w+\.part$/);
      assert.deepEqual(others, []);
      const part = join(folder(), left);
      await assert.rejects(DiffusionPipeline.fromPretrained(part, { device: 'wasm' }), /has no model_index\.json/);
      for (const [Network, subfolder] of [[UNet2DConditionModel, 'unet'], [AutoencoderKL, 'vae'], [CLIPTextModel, 'text_encoder']] as const) {
        await assert.rejects((Network as typeof UNet2DConditionModel).fromPretrained(part, { subfolder }), { name: 'ModelFileError' });
      }
      await convertModel(DEMO_MODEL, join(folder(), 'out'));
      assert.ok(existsSync(join(folder(), 'out/model_index.json')));
    });
  }

  it('holds a tensor at a time, however large the model is', async () => {
    const channels = Array<number>(3).fill(320);
    const large = { ...unet, block_out_channels: channels, layers_per_block: 2, norm_num_groups: 32,
      down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'], up_block_types: ['UpBlock2D', 'UpBlock2D', 'CrossAttnUpBlock2D'] };
    const header: Record<string, object> = {};
    let size = 0;
    for (const [name, spec] of new UNet2DConditionModel(large).parameterSpecs()) {
      const shape = torchShape(spec);
      header[name] = { dtype: 'F32', shape, data_offsets: [size, size += byteSize({ dtype: 'F32', shape })] };
    }
    const json = JSON.stringify(header);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(join(folder(), 'config.json'), JSON.stringify(large));
    writeFileSync(join(folder(), 'diffusion_pytorch_model.safetensors'), Buffer.concat([length, Buffer.from(json)]));
    truncateSync(join(folder(), 'diffusion_pytorch_model.safetensors'), 8 + json.length + size); // zeros, which take no room on the disk
    const script = `import { convertModel } from ${JSON.stringify(new URL('../../weights-converter/convert.js', import.meta.url))};
      const before = process.memoryUsage.rss(); // maxRSS would begin with what the parent had
      let peak = before;
      const onProgress = () => { peak = Math.max(peak, process.memoryUsage.rss()); };
      await convertModel(${JSON.stringify(folder())}, ${JSON.stringify(join(folder(), 'out'))}, { dtype: 'float16', maxShardSize: 50_000_000, onProgress });
      console.log(peak - before);`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.ok(size > 250e6, `the model has ${size} bytes`);
    assert.ok(Number(stdout) > 0 && Number(stdout) < 120e6, `took ${stdout} bytes for a model of ${size}`);
    assert.deepEqual(readdirSync(join(folder(), 'out')).length, 3 + 3);
  });
});

describeOnDevices('convertModel', device => {
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
      for (const [path, value] of Object.entries(valuesOf(model))) all[`${subfolder}.${path}`] = value;
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

  it('takes a safety checker along where it is asked for', async () => {
    const checked = checkedModel(root);
    await convertModel(checked, out, { safetyChecker: true, dtype: 'float32', verify: true });
    const index = JSON.parse(readFileSync(join(out, 'model_index.json'), 'utf8'));
    assert.deepEqual([index.safety_checker, index.feature_extractor].map(([, name]) => name), ['StableDiffusionSafetyChecker', 'CLIPFeatureExtractor']);
    const [before, after] = await Promise.all([checked, out].map(source => DiffusionPipeline.fromPretrained(source, { device, safetyChecker: true })));
    assert.deepEqual(after.featureExtractor!.config, before.featureExtractor!.config);
    assert.deepEqual(valuesOf(after.safetyChecker!), valuesOf(before.safetyChecker!));
    [before, after].forEach(pipe => pipe.dispose());
    await convertModel(checked, `${out}-without`);
    assert.ok(!existsSync(join(`${out}-without`, 'safety_checker')) && !existsSync(join(`${out}-without`, 'feature_extractor')));
    await assert.rejects(convertModel(DEMO_MODEL, `${out}-none`, { safetyChecker: true }), { message: `${DEMO_MODEL}/model_index.json: safety_checker: there is none` });
  });

  it('takes image encoders, by themselves and of pipelines, and T2I-Adapters', async () => {
    const encoder = join(dirname(DEMO_IP_ADAPTER), 'image_encoder');
    const layers = { channels: [8, 16], num_res_blocks: 1, downscale_factor: 2 };
    const pipeline = join(root, 'with-encoder');
    cpSync(DEMO_MODEL, pipeline, { recursive: true });
    cpSync(encoder, join(pipeline, 'image_encoder'), { recursive: true });
    mkdirSync(join(pipeline, 'feature_extractor'));
    writeFileSync(join(pipeline, 'feature_extractor/preprocessor_config.json'), '{"size": 32}');
    const index = JSON.parse(readFileSync(join(pipeline, 'model_index.json'), 'utf8'));
    writeFileSync(join(pipeline, 'model_index.json'), JSON.stringify({
      ...index, image_encoder: ['transformers', 'CLIPVisionModelWithProjection'], feature_extractor: ['transformers', 'CLIPImageProcessor'],
    }));
    const adapter = new MemoryFolder({
      'config.json': JSON.stringify({ _class_name: 'T2IAdapter', ...layers }), 'diffusion_pytorch_model.safetensors': await torchWeights(new T2IAdapter(layers)),
    });
    const read = async (Class: unknown, source: string | MemoryFolder, subfolder?: string) => {
      const model: Model<unknown> = await (Class as typeof UNet2DConditionModel).fromPretrained(source, { subfolder });
      const values = valuesOf(model);
      model.dispose();
      return values;
    };
    for (const [Class, source, subfolder] of [
      [CLIPVisionModelWithProjection, encoder], [CLIPVisionModelWithProjection, pipeline, 'image_encoder'], [T2IAdapter, adapter],
    ] as const) {
      await convertModel(source, `${out}-part`, { verify: true });
      assert.deepEqual(await read(Class, `${out}-part`, subfolder), await read(Class, source, subfolder));
      if (subfolder) assert.equal(readFileSync(join(`${out}-part`, 'feature_extractor/preprocessor_config.json'), 'utf8'), '{"size": 32}');
      rmSync(`${out}-part`, { recursive: true });
    }
    assert.equal(adapter.openSources, 0);
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
    assert.deepEqual(readdirSync(out).sort(), ['config.json', 'diffusion_pytorch_model.safetensors', 'files.json']);
    (await AutoencoderKL.fromPretrained(out)).dispose();
  });

  it('converts a ControlNet', async () => {
    const source = 'spec/golden/pipelines/controlnet_0';
    await convertModel(source, out, { verify: true });
    const [made, original] = await Promise.all([out, source].map(folder => ControlNetModel.fromPretrained(folder)));
    const expected = original.stateDict();
    for (const [path, tensor] of Object.entries(made.stateDict())) assert.deepEqual(tensor.dataSync(), expected[path].dataSync(), path);
    [made, original].forEach(network => network.dispose());
  });

  it('converts a ControlNet-Union, also one whose config calls it a ControlNetModel', async () => {
    const original = await ControlNetUnionModel.fromPretrained(TINY_UNION);
    const expected = original.stateDict();
    const config = JSON.parse(readFileSync(join(TINY_UNION, 'config.json'), 'utf8')) as object;
    for (const className of ['ControlNetUnionModel', 'ControlNetModel']) {
      const path = join(out, className);
      await convertModel(new MemoryFolder({
        'config.json': Buffer.from(JSON.stringify({ ...config, _class_name: className })),
        'diffusion_pytorch_model.safetensors': readFileSync(join(TINY_UNION, 'diffusion_pytorch_model.safetensors')),
      }), path, { verify: true });
      const made = await ControlNetUnionModel.fromPretrained(path);
      for (const [path, tensor] of Object.entries(made.stateDict())) assert.deepEqual(tensor.dataSync(), expected[path].dataSync(), path);
      made.dispose();
    }
    original.dispose();
  });

  it('writes down which files there are, as the bundled models have it', async () => {
    await convertModel(folder, out);
    for (const model of [out, DEMO_MODEL, DEMO_CONTROLNET, dirname(DEMO_IP_ADAPTER)]) {
      const paths = readdirSync(model, { recursive: true, encoding: 'utf8' }).map(path => path.replaceAll('\\', '/'));
      const files = paths.filter(path => path !== 'files.json' && statSync(join(model, path)).isFile()).sort();
      const sizes = files.map(path => [path, statSync(join(model, path)).size]);
      assert.deepEqual(Object.entries(JSON.parse(readFileSync(join(model, 'files.json'), 'utf8'))), sizes, model);
    }
  });

  it('splits into shards', async () => {
    await convertModel(folder, out, { maxShardSize: 20_000, verify: true });
    const shards = readdirSync(join(out, 'unet')).filter(name => name.endsWith('.safetensors')).sort();
    assert.ok(shards.length > 1);
    assert.equal(shards[0], `diffusion_pytorch_model-00001-of-${String(shards.length).padStart(5, '0')}.safetensors`);
    const index = JSON.parse(readFileSync(join(out, 'unet/diffusion_pytorch_model.safetensors.index.json'), 'utf8'));
    let total = 0;
    for (const shard of shards) {
      const { tensors } = await readSafetensorsHeader(bytesSource(readFileSync(join(out, 'unet', shard))));
      const sizes = [...tensors.values()].map(({ byteLength }) => byteLength);
      const size = sizes.reduce((sum, each) => sum + each, 0);
      assert.ok(size <= 20_000 || sizes.length === 1, `${shard} has ${size} bytes`);
      for (const name of tensors.keys()) assert.equal(index.weight_map[name], shard);
      total += size;
    }
    assert.equal(index.metadata.total_size, total);
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

  it('leaves nothing behind when it is aborted', async () => {
    const aborted = new AbortController();
    await assert.rejects(convertModel(folder, out, { signal: aborted.signal, onProgress: () => aborted.abort() }), { name: 'AbortError' });
    assert.ok(!existsSync(out));
  });

  it('finds what a faulty disk changed', async () => {
    let damaged = false;
    const damage = ({ loaded, total }: { loaded: number; total: number }) => {
      if (damaged || loaded < total / 2) return;
      damaged = true; // all is written, and is now read back
      const [part] = readdirSync(root).filter(name => name.endsWith('.part'));
      const file = join(root, part, 'vae/diffusion_pytorch_model.safetensors');
      const bytes = readFileSync(file);
      bytes[bytes.length - 1] ^= 1;
      writeFileSync(file, bytes);
    };
    await assert.rejects(convertModel(folder, out, { verify: true, onProgress: damage }),
      /^WeightsError: .*out\d+\/vae\/diffusion_pytorch_model\.safetensors: [\w.]+ is not what was written; the disk or its memory may be faulty$/);
    assert.ok(!existsSync(out));
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

  it('says in a line that a disk is full', async () => {
    const full = new MemoryFolder(files);
    const open = full.open.bind(full);
    full.open = async path => { // as if a write had failed
      const source = await open(path);
      return path.startsWith('unet') ? { ...source, read: async (offset, length) => {
        if (offset > 20_000) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
        return source.read(offset, length);
      } } : source;
    };
    await assert.rejects(convertModel(full, out), /^Error: .*out\d+: does not fit on the disk: no space is left; make room, or name a folder elsewhere$/);
    assert.ok(!existsSync(out));
  });

  const refuses: Array<[string, Record<string, Uint8Array | string | undefined>, RegExp]> = [
    ['a folder of no model', { 'model_index.json': undefined }, /^ModelFileError: memory: has neither model_index\.json nor config\.json$/],
    ['an unknown component', { 'model_index.json': '{"unet_2":["diffusers","PriorTransformer"]}' }, /unet_2 is a 'PriorTransformer', which cannot be converted/],
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
    await assert.rejects(convertModel(folder, out, { dtype: 'int2' as 'int4' }), /^RangeError: dtype: got 'int2', takes 'float32', 'float16', 'bfloat16', 'int8', 'int4'$/);
    await assert.rejects(convertModel(folder, out, { maxShardSize: 0 }), /^RangeError: maxShardSize: got 0/);
  });
});
