import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { checkpointFolder } from '../../lib/checkpoints/checkpoint_folder.js';
import { openModelFolder } from '../../lib/loading/open_model_folder.js';
import { openWeightFiles } from '../../lib/loading/weight_files.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import type { ControlNetConfig } from '../../lib/models/controlnet_config.js';
import { ControlNetUnionModel } from '../../lib/models/controlnet_union.js';
import { SD3ControlNetModel } from '../../lib/models/sd3_controlnet.js';
import { DiffusionPipeline, StableDiffusionControlNetPipeline } from '../../lib/pipelines/index.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { readSafetensorsHeader } from '../../lib/weights/safetensors.js';
import { bytesSource } from '../support/memory_folder.js';
import { digestsOf, shortHash, singleFile, singleFileGolden } from '../support/single_file.js';
import { temporaryFolder } from '../support/temporary_folder.js';

type Shapes = Record<string, number[]>;

/** Made by golden/parts/controlnet_files.py. */
const golden: {
  files: Record<string, { shapes: Shapes; saved: Record<string, string> }>;
  published: Record<string, { shapes: Shapes; config: Record<string, unknown> }>;
} = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/controlnet.json.gz')).toString());

const folderOf = (shapes: Shapes) => checkpointFolder({
  name: 'control.safetensors', metadata: {}, open: async () => bytesSource(new Uint8Array()),
  tensors: new Map(Object.entries(shapes).map(([key, shape]) => [key, { dtype: 'F16', shape, read: async () => new Uint8Array() }])),
});

describe('A single file of a ControlNet', () => {
  const folder = temporaryFolder();

  for (const [name, { shapes, saved }] of Object.entries(golden.files)) {
    it(`by its authors' keys, for ${name}, holds what diffusers' from_single_file makes of it, to the last bit`, async () => {
      const file = join(folder(), 'control.safetensors');
      await writeFile(file, await singleFile(shapes));
      assert.deepEqual(await digestsOf(await (await openModelFolder(file)).open('diffusion_pytorch_model.safetensors')), saved);
      const net = await ControlNetModel.fromSingleFile(file);
      assert.deepEqual(net.config.attention_head_dim, name === 'sd2' ? [1, 2] : 8);
      net.dispose();
    });
  }

  for (const [name, { shapes, config }] of Object.entries(golden.published)) {
    it(`by diffusers' keys says how it is built, ${name} at full size`, async () => {
      const model = await folderOf(shapes);
      const Network = name === 'union' ? ControlNetUnionModel : ControlNetModel;
      const found = await model.readJson('config.json') as Partial<ControlNetConfig> & { _class_name: string };
      assert.equal(found._class_name, Network.className);
      const net = new Network(found);
      assert.deepEqual(net.config, new Network({ ...config, ...typeof config.attention_head_dim === 'number' && { attention_head_dim: 8 } }).config);
      await matchWeights('controlnet', net.parameterSpecs(), await openWeightFiles(model)); // strict
    });
  }

  it('beside a whole model is a pipeline that it steers, or itself', async () => {
    const file = join(folder(), 'both.safetensors');
    await writeFile(file, await singleFile({ ...singleFileGolden.sd1.shapes, ...golden.files.sd1.shapes }));
    const pipe = await DiffusionPipeline.fromSingleFile(file, { device: 'wasm' });
    assert(pipe instanceof StableDiffusionControlNetPipeline);
    const net = await ControlNetModel.fromSingleFile(file);
    const key = 'controlnet_mid_block.bias';
    assert.deepEqual(net.stateDict()[key].dataSync(), (pipe.controlnet as ControlNetModel).stateDict()[key].dataSync());
    pipe.dispose();
    net.dispose();
  });

  it('as Stability publishes them for SD3.5 holds what diffusers\' script makes of it, to the last bit', async () => {
    const block = (i: number): Shapes => Object.fromEntries(Object.entries({
      'attn.qkv': [192, 64], 'attn.proj': [64, 64], 'mlp.fc1': [256, 64], 'mlp.fc2': [64, 256], 'adaLN_modulation.1': [384, 64],
    }).flatMap(([name, shape]) => [[`transformer_blocks.${i}.${name}.weight`, shape], [`transformer_blocks.${i}.${name}.bias`, [shape[0]]]]));
    const linear = (name: string, ...shape: number[]): Shapes => ({ [`${name}.weight`]: shape, [`${name}.bias`]: [shape[0]] });
    const shapes: Shapes = {
      ...block(0), ...block(1), ...linear('controlnet_blocks.0', 64, 64), ...linear('controlnet_blocks.1', 64, 64), ...linear('pos_embed_input.proj', 64, 16, 2, 2),
      ...linear('time_text_embed.timestep_embedder.linear_1', 64, 256), ...linear('time_text_embed.timestep_embedder.linear_2', 64, 64),
      ...linear('time_text_embed.text_embedder.linear_1', 64, 20), ...linear('time_text_embed.text_embedder.linear_2', 64, 64), control_type: [1],
    };
    const bytes = await singleFile(shapes);
    const file = join(folder(), 'sd35.safetensors');
    await writeFile(file, bytes);
    const found = await digestsOf(await (await openModelFolder(file)).open('diffusion_pytorch_model.safetensors'));
    const { tensors } = await readSafetensorsHeader(bytesSource(bytes));
    const places: Record<string, string> = { 'attn.proj': 'attn.to_out.0', 'mlp.fc1': 'ff.net.0.proj', 'mlp.fc2': 'ff.net.2', 'adaLN_modulation.1': 'norm1.linear' };
    const expected: Record<string, string> = {};
    for (const [key, { offset, byteLength }] of tensors) {
      const part = (i: number, of: number) => shortHash(bytes.subarray(offset + i * byteLength / of, offset + (i + 1) * byteLength / of));
      const [, name] = /^transformer_blocks\.\d\.(.*)\.\w+$/.exec(key) ?? [];
      if (name === 'attn.qkv') ['to_q', 'to_k', 'to_v'].forEach((to, i) => { expected[key.replace('qkv', to)] = part(i, 3); });
      else if (key !== 'control_type') expected[name ? key.replace(name, places[name]) : key] = part(0, 1);
    }
    assert.deepEqual(found, expected);
    const net = await SD3ControlNetModel.fromSingleFile(file);
    const { num_layers, num_attention_heads, pooled_projection_dim, use_pos_embed, force_zeros_for_pooled_projection } = net.config;
    assert.deepEqual([num_layers, num_attention_heads, pooled_projection_dim, use_pos_embed, force_zeros_for_pooled_projection], [2, 1, 20, false, false]);
    net.dispose();
    await assert.rejects(folderOf({ ...shapes, 'transformer_blocks.1.attn.qkv.bias': [191] }),
      /ControlNet: transformer_blocks\.1\.attn\.qkv\.bias has the shape \[191\], takes rows in 3 equal parts$/);
    await assert.rejects(folderOf({ ...shapes, 'pos_embed_input.proj.weight': [65, 16, 2, 2] }), /ControlNet: has 1\.015625 heads, takes a whole number$/);
    await assert.rejects(ControlNetModel.fromSingleFile(file), /_class_name: got 'SD3ControlNetModel', takes 'ControlNetModel'/);
  });

  it('may be told what no weight tells', async () => {
    const file = join(folder(), 'shuffle.safetensors');
    await writeFile(file, await singleFile(golden.files.sd1.shapes));
    const plain = await ControlNetModel.fromSingleFile(file);
    const told = await ControlNetModel.fromSingleFile(file, { config: { ...plain.config, global_pool_conditions: true } });
    assert.deepEqual([plain, told].map(net => net.config.global_pool_conditions), [false, true]);
    plain.dispose();
    told.dispose();
  });

  it('is refused if it holds no weights of its own', async () => {
    const { shapes } = golden.files.sd2;
    await assert.rejects(folderOf({ ...shapes, difference: [] }), /^ModelFileError: control\.safetensors: holds a ControlNet's difference to Stable Diffusion 1\.5, takes a whole one$/);
    await assert.rejects(folderOf({ lora_controlnet: [], 'input_hint_block.0.weight': [16, 3, 3, 3] }), /control\.safetensors: is a Control-LoRA/);
    await assert.rejects(folderOf({ 'input_hint_block.0.weight': [16, 3, 3, 3] }), /control\.safetensors: ControlNet: has no blocks/);
  });
});
