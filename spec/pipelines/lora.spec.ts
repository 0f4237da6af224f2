import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GenerateOptions } from '../../lib/pipelines/inputs/generate_options.js';
import type { FromPretrainedOptions } from '../../lib/pipelines/components/load_components.js';
import type { LoraScale } from '../../lib/adapters/lora_scale.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import type { Model } from '../../lib/models/model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';
import { byteSize, writeSafetensors, type Dtype } from '../../lib/weights/safetensors.js';

const FOLDER = 'spec/golden/lora';
const close = { atol: 5e-4, rtol: 5e-4 };

/** A LoRA file, each of whose tensors is one byte over and over: zeros by default. */
async function file(
  shapes: Record<string, number[]>, { fill = 0, dtype = 'F32' as Dtype, metadata = {} as Record<string, string>, others = {} as Record<string, object>, path = 'pytorch_lora_weights.safetensors' } = {},
): Promise<MemoryFolder> {
  const pieces: Uint8Array[] = [];
  const tensors = Object.entries(shapes).map(([name, shape]) => ({ name, dtype, shape, bytes: () => new Uint8Array(byteSize({ dtype, shape })).fill(fill) }));
  for await (const piece of writeSafetensors(tensors, metadata)) pieces.push(piece);
  return new MemoryFolder({ [path]: Buffer.concat(pieces), ...Object.fromEntries(Object.entries(others).map(([name, json]) => [name, JSON.stringify(json)])) });
}

/** The values of all weights. */
function values(network: Model<unknown>): Record<string, number[]> {
  return Object.fromEntries(Object.entries(network.stateDict()).map(([path, value]) => [path, [...value.dataSync()]]));
}

describeOnDevices('LoRA equals diffusers', device => {
  const { tensors, meta } = loadGolden('lora/out');
  let pipe: StableDiffusionPipeline;
  let before_: Array<Record<string, number[]>>;
  before(async () => {
    pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    before_ = [values(pipe.unet), values(pipe.textEncoder)];
  });
  after(() => pipe.dispose());
  afterEach(async () => {
    await pipe.unloadLoraWeights();
    assert.deepEqual([values(pipe.unet), values(pipe.textEncoder)], before_, 'weights are back, to the last bit');
  });

  const makes = async (name: string, options: GenerateOptions = {}) => {
    const { images } = await pipe.generate('a road and a tree on it', { numInferenceSteps: 2, generator: seeded(0), ...options, outputType: 'latent' });
    expectClose(images, tensors[name], close);
    images.dispose();
  };

  it('not at all, if a part of it cannot be put on', async () => {
    const { textEncoder } = pipe;
    textEncoder.changeParameter = () => { throw new Error('no memory'); };
    try {
      await assert.rejects(pipe.loadLoraWeights(FOLDER, { adapterName: 'style' }), /^Error: no memory$/);
    } finally {
      Reflect.deleteProperty(textEncoder, 'changeParameter');
    }
    assert.deepEqual([pipe.getListAdapters(), pipe.getActiveAdapters()], [{}, []]);
    assert.deepEqual([values(pipe.unet), values(pipe.textEncoder)], before_);
    await pipe.loadLoraWeights(FOLDER, { adapterName: 'style' });
  });

  it('several at once, each of which gets a name', async () => {
    await Promise.all([pipe.loadLoraWeights(FOLDER), pipe.loadLoraWeights(FOLDER), pipe.setLoraScale(1)]);
    assert.deepEqual(pipe.getActiveAdapters(), ['default_0', 'default_1']);
  });

  it('in peft\'s keys, with its scale in the metadata', async () => {
    await makes('base');
    await pipe.loadLoraWeights(FOLDER);
    await makes('peft');
    await pipe.setLoraScale(0.4);
    await makes('peft scaled');
    await pipe.setLoraScale(0);
    await makes('base');
  });

  it('with a scale for each block, as set_adapters takes it, and for one picture alone', async () => {
    await pipe.loadLoraWeights(FOLDER, { adapterName: 'peft' });
    for (const [name, scale] of Object.entries(meta.block_scales as Record<string, LoraScale>)) {
      await pipe.setAdapters('peft', scale);
      await makes(`peft ${name}`);
    }
    await pipe.setAdapters(['peft'], [0.8]);
    await makes('peft in one run', { crossAttentionKwargs: { scale: 0.5 } });
    await pipe.setLoraScale(0.4);
    await makes('peft scaled');
    await makes('base', { crossAttentionKwargs: { scale: 0 } });
    await assert.rejects(pipe.generate('a', { numInferenceSteps: 1, callbackOnStepEnd: () => { throw new Error('stop'); }, crossAttentionKwargs: { scale: 0 } }), /stop/);
    await makes('peft scaled');
    await pipe.fuseLora();
    await makes('peft scaled', { crossAttentionKwargs: { scale: 0 } });
    await pipe.unfuseLora();
  });

  it('those that are set active alone', async () => {
    await pipe.loadLoraWeights(FOLDER, { adapterName: 'style' });
    await pipe.loadLoraWeights(`${FOLDER}/dora.safetensors`, { adapterName: 'subject' });
    await pipe.setAdapters('style');
    await makes('peft');
    await pipe.setAdapters(['subject'], 0.4);
    await makes('dora scaled');
    await pipe.setAdapters([]);
    await makes('base');
    await pipe.setAdapters(['style', 'subject'], [{ unet: 1 }, 0]);
    await pipe.setAdapters('style', undefined);
    await makes('peft');
    await assert.rejects(pipe.setAdapters(['style', 'none']), /^RangeError: adapterNames: got 'none', takes one that is loaded: 'style', 'subject'$/);
    await assert.rejects(pipe.setAdapters(['style', 'subject'], [1]), /^RangeError: adapterWeights: got a list of 1, takes one of 2$/);
  });

  it('put on, off and away, step by step', async () => {
    const steps = meta.managed as Array<{ name: string; call: [string, ...unknown[]]; active: string[]; list: { unet?: string[]; text_encoder?: string[] } }>;
    const files: Record<string, string> = { style: FOLDER, subject: `${FOLDER}/unet.bin` };
    const load = (adapterName: string) => pipe.loadLoraWeights(files[adapterName], { adapterName });
    const calls: Record<string, (...inputs: never[]) => Promise<void>> = {
      set_adapters: pipe.setAdapters.bind(pipe), disable_lora: pipe.disableLora.bind(pipe), enable_lora: pipe.enableLora.bind(pipe),
      delete_adapters: pipe.deleteAdapters.bind(pipe),
    };
    await load('style');
    await load('subject');
    for (const { name, call: [method, ...inputs], active, list: { unet, text_encoder: textEncoder } } of steps) {
      for (const adapter of inputs.slice(0, 1).flat() as string[]) {
        if (method === 'set_adapters' && !pipe.getListAdapters().unet?.includes(adapter)) await load(adapter); // deleted before
      }
      await calls[method](...inputs as never[]);
      await makes(`managed ${name}`);
      // Who acts after the only one was deleted, diffusers asks the first layer alone, which knew no other.
      assert.deepEqual(pipe.getActiveAdapters(), name === 'the active one deleted' ? ['subject'] : active, name);
      assert.deepEqual(pipe.getListAdapters(), { ...(unet && { unet }), ...(textEncoder && { textEncoder }) }, name);
    }
  });

  it('nor fused while they are disabled, nor the other way round', async () => {
    await pipe.loadLoraWeights(FOLDER);
    await pipe.loadLoraWeights(`${FOLDER}/unet.bin`);
    await pipe.deleteAdapters('default_0');
    await pipe.loadLoraWeights(FOLDER);
    assert.deepEqual(pipe.getActiveAdapters(), ['default_1', 'default_2']);
    await assert.rejects(pipe.deleteAdapters(['default_1', 'other']), /^RangeError: adapterNames: got 'other', takes one that is loaded: 'default_1', 'default_2'$/);
    await pipe.disableLora();
    await assert.rejects(pipe.fuseLora(), /^Error: LoRA: is disabled; call enableLora first$/);
    await pipe.enableLora();
    await pipe.fuseLora();
    await assert.rejects(pipe.disableLora(), /^Error: LoRA: is fused; call unfuseLora or unloadLoraWeights first$/);
    await assert.rejects(pipe.deleteAdapters('default_1'), /^Error: LoRA: is fused/);
    await pipe.unfuseLora();
  });

  it('DoRA', async () => {
    await pipe.loadLoraWeights(`${FOLDER}/dora.safetensors`);
    await makes('dora');
    await pipe.setLoraScale(0.4);
    await makes('dora scaled');
  });

  it('with biases, also of layers that have none', async () => {
    await pipe.loadLoraWeights(`${FOLDER}/bias.safetensors`);
    await makes('bias');
    await pipe.setLoraScale(0.4);
    await makes('bias scaled');
    await pipe.fuseLora();
    await makes('bias scaled');
    await pipe.unfuseLora();
  });

  for (const kind of ['lora', 'loha', 'lokr', 'lycoris']) {
    it(kind === 'lycoris' ? 'each kind of LyCORIS, in one file' : `peft's ${kind}, with the adapter_config.json beside it`, async () => {
      await pipe.loadLoraWeights(kind === 'lycoris' ? `${FOLDER}/lycoris.safetensors` : `${FOLDER}/${kind}`);
      let count = 0;
      for (const [name, expected] of Object.entries(tensors)) {
        const [, adapter, network, path] = /^(\w+)\/(unet|text_encoder)\/(.*)$/.exec(name) ?? [];
        if (adapter !== kind) continue;
        const value = (network === 'unet' ? pipe.unet : pipe.textEncoder).getParameter(path);
        expectClose(value, { ...expected, shape: value.shape }, { atol: 1e-4, rtol: 1e-4 });
        count++;
      }
      assert.ok(count >= 4);
      const changed = Object.entries(values(pipe.unet)).filter(([path, each]) => each.some((value, i) => value !== before_[0][path][i]));
      assert.equal(changed.length, Object.keys(tensors).filter(name => name.startsWith(`${kind}/unet/`)).length);
    });
  }

  it('in kohya\'s keys, with convolutions and an alpha for each module', async () => {
    await pipe.loadLoraWeights(`${FOLDER}/kohya.safetensors`);
    await makes('kohya');
  });

  it('in the keys of attention processors', async () => {
    await pipe.loadLoraWeights(FOLDER, { weightName: 'old.safetensors' });
    await makes('old');
  });

  it('pickled, for the UNet alone', async () => {
    await pipe.loadLoraWeights(`${FOLDER}/unet.bin`);
    await makes('bin');
  });

  it('several at once, each with a scale', async () => {
    await pipe.loadLoraWeights(FOLDER, { adapterName: 'style', adapterScale: 0.7 });
    await pipe.loadLoraWeights(`${FOLDER}/kohya.safetensors`, { adapterName: 'subject' });
    await pipe.setLoraScale(-0.3, 'subject');
    await makes('peft and kohya');
    await assert.rejects(pipe.setLoraScale(1, 'other'), /RangeError: adapterName: got 'other', takes one that is loaded: 'style', 'subject'/);
    await assert.rejects(pipe.loadLoraWeights(FOLDER, { adapterName: 'style' }), /RangeError: adapterName: got 'style', which is loaded already/);
  });

  it('fused and unfused', async () => {
    await pipe.loadLoraWeights(FOLDER);
    await pipe.fuseLora({ loraScale: 0.6 });
    await makes('peft fused');
    await assert.rejects(pipe.setLoraScale(1), /^Error: LoRA: is fused; call unfuseLora or unloadLoraWeights first$/);
    await assert.rejects(pipe.loadLoraWeights(FOLDER, { adapterName: 'second' }), /LoRA: is fused/);
    await pipe.unfuseLora();
    await makes('peft');
  });

  it('compiled', async () => {
    await pipe.compile();
    await makes('base');
    await pipe.loadLoraWeights(FOLDER);
    await makes('peft');
  });
});

describeOnDevices('LoRA', device => {
  it('stays when it is fused and then unloaded, and leaves no tensor behind', () => expectNoLeak(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const count = tf.memory().numTensors;
    await pipe.loadLoraWeights(FOLDER);
    const fused = values(pipe.unet);
    await pipe.fuseLora();
    await pipe.unloadLoraWeights();
    assert.equal(tf.memory().numTensors, count);
    assert.deepEqual(values(pipe.unet), fused);
    await pipe.loadLoraWeights(FOLDER);
    await pipe.unloadLoraWeights();
    assert.deepEqual(values(pipe.unet), fused);
    await pipe.loadLoraWeights(FOLDER); // and is freed with the pipeline
    pipe.dispose();
    return [];
  }));

  it('is merged into no weight that is not on the device anyway', () => expectNoLeak(async () => {
    const kinds: FromPretrainedOptions[] = [{ cpuOffload: 'model' }, { cpuOffload: 'sequential' }, ...device === 'wasm' ? [{ dtype: 'float16' as const }] : []];
    const { tensors } = loadGolden('lora/out');
    for (const options of kinds) {
      const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device, ...options });
      const before = tf.memory().numBytes;
      await pipe.loadLoraWeights(FOLDER);
      await pipe.fuseLora({ loraScale: 0.6 });
      assert.equal(tf.memory().numBytes, before);
      const { images } = await pipe.generate('a road and a tree on it', { numInferenceSteps: 2, generator: seeded(0), outputType: 'latent' });
      expectClose(images, tensors['peft fused'], options.dtype ? { atol: 2e-2 } : close);
      images.dispose();
      await pipe.unloadLoraWeights();
      assert.equal(tf.memory().numBytes, before);
      pipe.dispose();
    }
    return [];
  }));

  it('adds to half weights, and leaves them as they were', () => expectNoLeak(async () => {
    const [pipe, wide] = await Promise.all((['float16', 'float32'] as const).map(dtype => StableDiffusionPipeline.fromPretrained(TINY, { device, dtype })));
    const untouched = values(pipe.unet);
    for (const name of ['pytorch_lora_weights', 'dora', 'bias', 'lycoris']) {
      await pipe.loadLoraWeights(`${FOLDER}/${name}.safetensors`);
      await wide.loadLoraWeights(`${FOLDER}/${name}.safetensors`);
      const changed = values(wide.unet);
      for (const [path, half] of Object.entries(values(pipe.unet))) half.forEach((value, i) => assert.ok(Math.abs(value - changed[path][i]) < 5e-3, path));
      if (name === 'bias') pipe.enableSequentialCpuOffload();
      await pipe.generate('a road', { numInferenceSteps: 1 });
      pipe.removeAllHooks();
      await pipe.unloadLoraWeights();
      await wide.unloadLoraWeights();
      assert.deepEqual(values(pipe.unet), untouched, name);
    }
    await pipe.loadTextualInversion('spec/golden/textual_inversion');
    await pipe.generate('a <Cat>', { numInferenceSteps: 1 });
    pipe.dispose();
    wide.dispose();
    return [];
  }));

  it('heeds what is said of alpha beside the file, in its metadata, and in it', () => expectNoLeak(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const q = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q';
    const untouched = pipe.unet.getParameter(`${q}.weight`).dataSync()[0];
    const path = 'deep/adapter_model.safetensors';
    const ones = { fill: 0x38, dtype: 'F8_E4M3' as const }; // rank 2: up times down is 2
    const peft = { [`base_model.model.${q}.lora_A.weight`]: [2, 8], [`base_model.model.${q}.lora_B.weight`]: [8, 2] };
    const beside = (config: object) => file(peft, { ...ones, path, others: { 'deep/adapter_config.json': config, 'adapter_config.json': { lora_alpha: 99 } } });
    const within = (config: object, options = ones) => file(peft, { ...options, path, metadata: { lora_adapter_metadata: JSON.stringify(config) } });
    const cases: Array<[Promise<MemoryFolder>, number]> = [
      [file(peft, { ...ones, path }), 2],
      [beside({ r: 2, lora_alpha: 16 }), 16],
      [beside({ r: 8, rank_pattern: { 'attn\\d.to_q': 2 }, lora_alpha: 1, alpha_pattern: { 'attn1\\.to_[qk]': 16, 'to_q': 1 } }), 16],
      [beside({ r: 2, lora_alpha: 4, use_rslora: true }), 2 * 4 / Math.SQRT2],
      [beside({}), 2],
      [within({ 'unet.r': 2, 'unet.lora_alpha': 6, 'text_encoder.lora_alpha': 1 }), 6],
      [within({ r: 2, lora_alpha: 6, alpha_pattern: {} }), 6],
      [file({ ...peft, [`base_model.model.${q}.alpha`]: [] }, { ...ones, path, others: { 'deep/adapter_config.json': { r: 2, lora_alpha: 16 } } }), 1],
    ];
    for (const [i, [folder, expected]] of cases.entries()) {
      await pipe.loadLoraWeights(await folder, { weightName: path });
      const change = pipe.unet.getParameter(`${q}.weight`).dataSync()[0] - untouched;
      assert.ok(Math.abs(change - expected) < 1e-5, `case ${i}: ${change}, not ${expected}`);
      await pipe.unloadLoraWeights();
    }
    const refused: Array<[Promise<MemoryFolder>, RegExp]> = [
      [beside({ r: 4, lora_alpha: 1 }), /^WeightsError: .*to_q has rank 2, its config says 4$/],
      [beside([]), /^WeightsError: memory\/deep\/adapter_model\.safetensors: adapter_config\.json: takes an object$/],
      [beside({ alpha_pattern: { '(': 1 } }), /adapter_config\.json: alpha_pattern: '\(': missing \)/],
      [beside({ r: 0, lora_alpha: 1 }), /to_q has rank 2, its config says 0$/],
      [within({ 'unet.lora_alpha': 'much' }), /lora_adapter_metadata: lora_alpha: got 'much', takes a number$/],
    ];
    for (const [folder, message] of refused) await assert.rejects(pipe.loadLoraWeights(await folder, { weightName: path }), message);
    pipe.dispose();
    return [];
  }));

  it('leaves out what is for a second text encoder, with a warning', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const name = 'text_model_encoder_layers_0_mlp_fc1';
    const [warnings, warn] = [[] as string[], console.warn];
    console.warn = (text: string) => void warnings.push(text);
    try {
      await pipe.loadLoraWeights(await file({ [`lora_te1_${name}.lora_down.weight`]: [2, 16], [`lora_te1_${name}.lora_up.weight`]: [32, 2],
        [`lora_te2_${name}.lora_down.weight`]: [2, 99], 'text_encoder_2.text_model.x.lora_A.weight': [2, 9] }));
    } finally {
      console.warn = warn;
    }
    assert.deepEqual(warnings, ['memory/pytorch_lora_weights.safetensors: leaves out 2 tensors for a second text encoder, which this model does not have']);
    pipe.dispose();
  });

  it('is found by its path, whatever torch called it', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const folder = await mkdtemp(join(tmpdir(), 'lora-'));
    for (const ending of ['ckpt', 'pt', 'pth', 'bin']) {
      const path = join(folder, `unet.${ending}`);
      await copyFile(`${FOLDER}/unet.bin`, path);
      await pipe.loadLoraWeights(path);
    }
    assert.equal((await readdir(folder)).length, 4);
    await rm(folder, { recursive: true });
    pipe.dispose();
  });

  it('names what does not fit, and changes nothing', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const q = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q';
    const cases: Array<[Record<string, number[]>, RegExp]> = [
      [{}, /^WeightsError: memory\/pytorch_lora_weights\.safetensors: is no LoRA for this model: it is empty$/],
      [{ 'a.weight': [1] }, /is no LoRA for this model: unexpected a\.weight$/],
      [Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`unet.other.${i}.lora_A.weight`, [2, 8]])),
        /for this model: unexpected unet\.other\.0\.lora_A\.weight; unexpected .*; unexpected unet\.other\.5\.lora_A\.weight; and 3 more$/],
      [{ 'lora_unet_input_blocks_9_1_proj_in.lora_down.weight': [1, 8] }, /unexpected lora_unet_input_blocks_9_1_proj_in\.lora_down\.weight$/],
      [{ [`unet.${q}.lora_A.weight`]: [2, 8] }, /to_q has no up$/],
      [{ [`unet.${q}.lora_B.weight`]: [8, 2] }, /to_q has no down$/],
      [{ [`unet.${q}.lora_A.weight`]: [2, 320], [`unet.${q}.lora_B.weight`]: [320, 2] },
        /to_q has factors \[2, 320\] and \[320, 2\], the weight is \[8, 8\]$/],
      [{ [`unet.${q}.lora_A.weight`]: [0, 8], [`unet.${q}.lora_B.weight`]: [8, 0] }, /to_q has factors \[0, 8\] and \[8, 0\]/],
      [{ 'unet.conv_norm_out.lora_A.weight': [2, 8], 'unet.conv_norm_out.lora_B.weight': [8, 2] }, /conv_norm_out has factors .* the weight is \[8\]$/],
      [{ [`unet.${q}.dora_scale`]: [8] }, /to_q has no down$/],
      [{ [`unet.${q}.alpha`]: [] }, /to_q has no down$/],
      [{ [`unet.${q}.lora_A.weight`]: [2, 8], [`unet.${q}.lora_B.weight`]: [8, 2], [`unet.${q}.lora_magnitude_vector`]: [4] },
        /to_q has magnitudes \[4\], takes 8, one for each output$/],
      [{ [`unet.${q}.lora_A.weight`]: [2, 8], [`unet.${q}.lora_B.weight`]: [8, 2], [`unet.${q}.lora_B.bias`]: [2] }, /to_q has a bias \[2\], takes \[8\]$/],
      [{ [`unet.${q}.lora_A.weight`]: [2, 8], [`unet.${q}.lora_B.weight`]: [8, 2], [`unet.${q}.diff`]: [8, 8] }, /to_q has both down and diff$/],
      [{ [`unet.${q}.lora_A.weight`]: [2, 8], [`unet.${q}.lora_down.weight`]: [2, 8] }, /to_q has two of down; .*to_q has no up$/],
      [{ [`unet.${q}.lora_A.bias`]: [2] }, /unexpected .*lora_A\.bias$/],
      [{ [`unet.${q}.diff`]: [64] }, /to_q has factors \[64\], the weight is \[8, 8\]$/],
      [{ [`unet.${q}.hada_w1_a`]: [8, 2], [`unet.${q}.hada_w1_b`]: [2, 8], [`unet.${q}.hada_w2_a`]: [8, 2] }, /to_q has no hada_w2_b$/],
      [{ [`unet.${q}.lokr_w1`]: [3, 3], [`unet.${q}.lokr_w2`]: [2, 2] }, /to_q has factors \[3, 3\] and \[2, 2\], the weight is \[8, 8\]$/],
      [{ [`unet.${q}.lokr_w1`]: [0, 0], [`unet.${q}.lokr_w2`]: [2, 2] }, /to_q has factors/],
      [{ [`unet.${q}.lokr_w1`]: [4], [`unet.${q}.lokr_w2`]: [2, 2] }, /to_q has factors/],
      [{ [`unet.${q}.lokr_w1_a`]: [4, 1], [`unet.${q}.lokr_w2`]: [2, 2] }, /to_q has no lokr_w1$/],
      [{ 'lora_te_text_model_embeddings_token_embedding.diff': [524, 16] }, /token_embedding has factors \[524, 16\]/],
      [{ 'lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight': [2, 16] }, /it is for a second text encoder alone$/],
    ];
    for (const [shapes, message] of cases) await expectNoLeak(async () => {
      await assert.rejects(pipe.loadLoraWeights(await file(shapes)), message);
      return [];
    });
    await assert.rejects(pipe.loadLoraWeights(TINY), /tiny: has no pytorch_lora_weights\.safetensors or .*; say which file it is by weightName$/);
    await assert.rejects(pipe.loadLoraWeights('spec/no.safetensors'), /^ModelFileError: spec\/no\.safetensors: there is no such file$/);
    await assert.rejects(pipe.loadLoraWeights(FOLDER, { adapterScale: NaN }), /adapterScale: got NaN, takes a number/);
    const scales: Array<[object, RegExp]> = [
      [{ vae: 1 }, /adapterScale: got the key 'vae', takes 'unet', 'textEncoder', 'text_encoder'$/],
      [{ textEncoder2: 1 }, /adapterScale: got the key 'textEncoder2', takes 'unet', 'textEncoder', 'text_encoder'$/],
      [{ textEncoder: '1' }, /adapterScale\.textEncoder: got '1', takes a number/],
      [{ unet: { middle: 1 } }, /adapterScale\.unet: got the key 'middle', takes 'down', 'mid', 'up'/],
      [{ unet: { down: { block_2: 1 } } }, /adapterScale\.unet\.down: got the key 'block_2', takes 'block_0', 'block_1'/],
      [{ unet: { up: { block_1: [1, 2, 3] } } }, /adapterScale\.unet\.up\.block_1: got a list of 3, takes a number, or a list of 2/],
      [{ unet: { mid: [1, 2] } }, /adapterScale\.unet\.mid: got a list of 2, takes a number, or a list of 1/],
      [{ unet: { up: NaN } }, /adapterScale\.unet\.up: got NaN, takes a number/],
    ];
    for (const [adapterScale, message] of scales) await assert.rejects(pipe.loadLoraWeights(FOLDER, { adapterScale: adapterScale as LoraScale }), message);
    for (const crossAttentionKwargs of [{ scale: NaN }, { gligen: 1 }, 0.5]) {
      await assert.rejects(pipe.generate('a', { crossAttentionKwargs: crossAttentionKwargs as { scale: number } }), /^(Range|Type)Error: crossAttentionKwargs/);
    }
    pipe.dispose();
  });
});
