import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Block } from '../../lib/core/block.js';
import { loadWeights } from '../../lib/weights/load_weights.js';
import { readSafetensorsHeader, writeSafetensors, type Dtype } from '../../lib/weights/safetensors.js';
import { closeWeightFiles, findWeightFiles, openWeightFiles } from '../../lib/loading/weight_files.js';
import { describeOnDevices } from '../support/backends.js';
import { MemoryFolder } from '../support/memory_folder.js';

class Leaf extends Block {
  static className = 'Leaf';

  constructor(parameters: Record<string, [number[], 'linear' | 'conv' | 'plain']>) {
    super();
    for (const [name, [shape, layout]] of Object.entries(parameters)) this.addParameter(name, shape, layout);
  }

  override compute(): tf.Tensor {
    return tf.scalar(0);
  }
}

class Net extends Leaf {
  static override className = 'Net';

  constructor() {
    super({ 'norm.weight': [[2], 'plain'], 'norm.bias': [[2], 'plain'] });
    this.add('conv', new Leaf({ weight: [[1, 2, 3, 4], 'conv'] }));
    this.add('attentions.0.to_q', new Leaf({ weight: [[3, 2], 'linear'] }));
    this.add('attentions.0.to_out.0', new Leaf({ weight: [[2, 2], 'linear'] }));
  }
}

type Values = [dtype: Dtype, shape: number[], values: ArrayLike<number>];

const range = (length: number) => Float32Array.from({ length }, (_, i) => i);
const torchWeights = (): Record<string, Values> => ({
  'norm.weight': ['F32', [2], Float32Array.of(3, 4)],
  'norm.bias': ['F16', [2], Uint16Array.of(0x3c00, 0xc000)], // 1, -2
  'conv.weight': ['F64', [4, 3, 1, 2], Float64Array.from(range(24))],
  'attentions.0.to_q.weight': ['F32', [2, 3], range(6)],
  'attentions.0.to_out.0.weight': ['BF16', [2, 2], Uint16Array.of(0x3f80, 0, 0x4000, 0)], // 1, 0, 2, 0
});

async function safetensors(weights: Record<string, Values>, metadata = {}): Promise<Uint8Array> {
  const entries = Object.entries(weights).map(([name, [dtype, shape, values]]) =>
    ({ name, dtype, shape, bytes: () => new Uint8Array((values as Float32Array).buffer) }));
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeSafetensors(entries, metadata)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function load(block: Block, files: Record<string, Uint8Array | string>, options: Parameters<typeof loadWeights>[2] = {}): Promise<void> {
  const folder = new MemoryFolder(files);
  const opened = await openWeightFiles(folder);
  try {
    await loadWeights(block, opened, options);
  } finally {
    await closeWeightFiles(opened);
    assert.equal(folder.openSources, 0);
  }
}

describeOnDevices('loadWeights', () => {
  const expected: Record<string, number[]> = {
    'norm.weight': [3, 4],
    'norm.bias': [1, -2],
    'conv.weight': [0, 6, 12, 18, 2, 8, 14, 20, 4, 10, 16, 22, 1, 7, 13, 19, 3, 9, 15, 21, 5, 11, 17, 23],
    'attentions.0.to_q.weight': [0, 3, 1, 4, 2, 5],
    'attentions.0.to_out.0.weight': [1, 2, 0, 0],
  };
  let net: Net;
  let tensors: number;
  beforeEach(() => {
    tensors = tf.memory().numTensors;
    net = new Net();
  });
  afterEach(() => {
    net.dispose();
    assert.equal(tf.memory().numTensors, tensors, 'tensors left behind');
  });

  function check(): void {
    const state = net.stateDict();
    assert.deepEqual(Object.fromEntries(Object.entries(state).map(([path, value]) => [path, [...value.dataSync()]])), expected);
  }

  it('turns torch layouts and decodes every float type', async () => {
    const progress: number[] = [];
    await load(net, { 'model.safetensors': await safetensors(torchWeights()) }, {
      onProgress: ({ loaded, total }) => { assert.equal(total, 8 + 4 + 192 + 24 + 8); progress.push(loaded); },
    });
    check();
    assert.equal(progress.length, 5);
    assert.equal(progress.at(-1), 236);
  });

  it('takes our layout as it is', async () => {
    const specs = net.parameterSpecs();
    const ours = Object.fromEntries(Object.entries(expected).map(([path, values]) =>
      [path, ['F32', specs.get(path)!.shape, Float32Array.from(values)] as unknown as Values]));
    await load(net, { 'diffusion_pytorch_model.safetensors': await safetensors(ours, { format: 'tfjs' }) });
    check();
  });

  it('takes shards by their index, and the variant asked for', async () => {
    const { 'conv.weight': conv, ...rest } = torchWeights();
    const folder = new MemoryFolder({
      'unet/diffusion_pytorch_model.safetensors.index.fp16.json': '{"weight_map":{"conv.weight":"b.safetensors","norm.bias":"a.safetensors"}}',
      'unet/a.safetensors': await safetensors(rest),
      'unet/b.safetensors': await safetensors({ 'conv.weight': conv }),
    });
    const files = await openWeightFiles(folder, { subfolder: 'unet', variant: 'fp16' });
    await loadWeights(net, files);
    await closeWeightFiles(files);
    check();
  });

  it('takes the names that older files have', async () => {
    const weights = torchWeights();
    const renamed: Record<string, Values> = {
      'text_model.norm.weight': weights['norm.weight'],
      'text_model.norm.bias': weights['norm.bias'],
      'text_model.embeddings.position_ids': ['I64', [1, 1], new BigInt64Array(1) as unknown as ArrayLike<number>],
      'conv.weight': weights['conv.weight'],
      'attentions.0.query.weight': ['F32', [2, 3, 1, 1], range(6)],
      'attentions.0.proj_attn.weight': weights['attentions.0.to_out.0.weight'],
    };
    await load(net, { 'model.safetensors': await safetensors(renamed) });
    check();
  });

  it('names all that does not fit, in one line', async () => {
    const { 'norm.bias': bias, ...weights } = torchWeights();
    delete (weights as Record<string, Values>)['norm.weight'];
    weights['conv.weight'] = ['F32', [4, 9, 1, 2], range(72)];
    weights['attentions.0.to_q.weight'] = ['I32', [2, 3], new Int32Array(6)];
    for (let i = 0; i < 9; i++) weights[`extra.${i}`] = bias;
    await assert.rejects(load(net, { 'model.safetensors': await safetensors(weights) }), {
      name: 'WeightsError',
      message: 'Net: the weights of memory/model.safetensors do not fit: conv.weight has shape [4, 9, 1, 2], takes [4, 3, 1, 2]; ' +
        'attentions.0.to_q.weight has dtype I32, takes F64, F32, F16, BF16, F8_E4M3, F8_E5M2; missing norm.weight, norm.bias; ' +
        'unexpected extra.0, extra.1, extra.2, extra.3, extra.4, extra.5, and 3 more',
    });
  });

  it('refuses a weight that comes twice', async () => {
    const weights = torchWeights();
    await assert.rejects(load(net, { 'model.safetensors': await safetensors({ ...weights, 'text_model.norm.bias': weights['norm.bias'] }) }), /norm\.bias comes twice/);
  });

  it('names the file that is broken', async () => {
    const bytes = (await safetensors(torchWeights())).subarray(0, -1);
    await assert.rejects(load(net, { 'model.safetensors': bytes }), /^SafetensorsError: memory\/model\.safetensors: is cut off/);
  });

  it('frees what it had loaded when a read fails', async () => {
    const files = await openWeightFiles(new MemoryFolder({ 'model.safetensors': await safetensors(torchWeights()) }));
    const { source } = files[0];
    let reads = 0;
    const breaking = { ...source, read: (offset: number, length: number) => ++reads > 4 ? Promise.reject(new Error('disk gone')) : source.read(offset, length) };
    await assert.rejects(loadWeights(net, [{ name: 'x', source: breaking }]), /disk gone/);
    assert.equal(tf.memory().numTensors, tensors);
  });

  it('refuses a dtype that no weights have', async () => {
    await assert.rejects(loadWeights(net, [], { dtype: 'float8' as 'float16' }), /^RangeError: dtype: got 'float8', takes 'float32', 'float16', 'bfloat16'$/);
  });
});

describe('openWeightFiles', () => {
  const pickle = readFileSync('spec/golden/checkpoints/state.ckpt');

  it('reads pickles where there is nothing else, of any variant and in shards', async () => {
    const folder = new MemoryFolder({
      'unet/diffusion_pytorch_model.bin': pickle, 'text_encoder/pytorch_model.fp16.bin': pickle,
      'shards/pytorch_model.bin.index.json': '{"weight_map":{"a":"pytorch_model-00001-of-00001.bin"}}', 'shards/pytorch_model-00001-of-00001.bin': pickle,
    });
    for (const options of [{ subfolder: 'unet' }, { subfolder: 'text_encoder', variant: 'fp16' }, { subfolder: 'shards', useSafetensors: false }]) {
      const [file] = await openWeightFiles(folder, options);
      assert.match(file.name, /\.bin$/);
      const { tensors } = await readSafetensorsHeader(file.source);
      assert.deepEqual(tensors.get('float16')!.shape, [3, 4]);
      await closeWeightFiles([file]);
    }
    assert.equal(folder.openSources, 0);
    await assert.rejects(openWeightFiles(folder, { subfolder: 'unet', useSafetensors: true }),
      /^ModelFileError: memory\/unet: has its weights only as pickles, which useSafetensors: true refuses$/);
  });

  it('prefers safetensors', async () => {
    const folder = new MemoryFolder({ 'model.safetensors': 'abc', 'pytorch_model.bin': pickle });
    assert.deepEqual(await findWeightFiles(folder), ['model.safetensors']);
    assert.deepEqual(await findWeightFiles(folder, { useSafetensors: false }), ['pytorch_model.bin']);
  });

  it('closes a pickle that is refused, and names it', async () => {
    const folder = new MemoryFolder({ 'unet/diffusion_pytorch_model.bin': pickle.subarray(0, 500) });
    await assert.rejects(openWeightFiles(folder, { subfolder: 'unet' }), /^PickleError: memory\/unet\/diffusion_pytorch_model\.bin: cannot be read as a zip/);
    assert.equal(folder.openSources, 0);
  });

  const refuses: Array<[string, Record<string, string>, string | undefined, RegExp]> = [
    ['no weights', {}, undefined, /^ModelFileError: memory: has no weights: there is none of diffusion_pytorch_model\.safetensors, model\.safetensors, diffusion_pytorch_model\.bin, pytorch_model\.bin$/],
    ['a missing variant', { 'model.safetensors': '' }, 'fp16', /memory: has no weights of the variant 'fp16', only without a variant/],
    ['an index without a map', { 'model.safetensors.index.json': '[]' }, undefined, /memory\/model\.safetensors\.index\.json: takes \{ weight_map/],
    ['a shard elsewhere', { 'model.safetensors.index.json': '{"weight_map":{"a":"../b.safetensors"}}' }, undefined, /names the shard '\.\.\/b\.safetensors'/],
    ['a shard that is no name', { 'model.safetensors.index.json': '{"weight_map":{"a":1}}' }, undefined, /names the shard 1/],
    ['too many shards', { 'model.safetensors.index.json': JSON.stringify({ weight_map: Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [i, `${i}.safetensors`])) }) }, undefined, /names 1001 files, takes up to 1000$/],
    ['a missing shard', { 'model.safetensors.index.json': '{"weight_map":{"a":"b.safetensors"}}' }, undefined, /memory\/b\.safetensors: there is no such file/],
  ];
  for (const [title, files, variant, message] of refuses) {
    it(`refuses ${title}`, async () => {
      await assert.rejects(openWeightFiles(new MemoryFolder(files), { variant }), message);
    });
  }
});
