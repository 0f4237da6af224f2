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
import { DiffusionPipeline, StableDiffusionControlNetPipeline } from '../../lib/pipelines/index.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { bytesSource } from '../support/memory_folder.js';
import { digestsOf, singleFile, singleFileGolden } from '../support/single_file.js';
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
