import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import { LocalFolder } from '../../lib/files/local_folder.js';
import type { ModelFolder } from '../../lib/files/model_folder.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { AutoencoderTiny } from '../../lib/models/autoencoder_tiny.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import type { GenerateOptions } from '../../lib/pipelines/inputs/generate_options.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { LatentConsistencyModelPipeline } from '../../lib/pipelines/latent_consistency_models/latent_consistency_model.js';
import { LatentConsistencyModelImg2ImgPipeline } from '../../lib/pipelines/latent_consistency_models/latent_consistency_model_img2img.js';
import type { StableDiffusionComponents } from '../../lib/pipelines/components/components.js';
import { StableDiffusion3Pipeline } from '../../lib/pipelines/stable_diffusion_3/stable_diffusion_3.js';
import { StableDiffusionXLPipeline } from '../../lib/pipelines/stable_diffusion_xl/stable_diffusion_xl.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { StableDiffusionControlNetPipeline } from '../../lib/pipelines/controlnet/stable_diffusion_controlnet.js';
import { StableDiffusionInpaintPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler } from '../../lib/schedulers/index.js';
import { torchShape } from '../../lib/weights/layouts.js';
import { writeSafetensors } from '../../lib/weights/safetensors.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { captureWarnings } from '../support/warnings.js';

/** The demo model with some of its JSON files changed; null: the file is missing. */
async function folderWith(changes: Record<string, ((json: Record<string, unknown>) => unknown) | null>): Promise<ModelFolder> {
  const folder = await LocalFolder.open(DEMO_MODEL);
  return {
    name: 'demo',
    has: async path => changes[path] !== null && folder.has(path),
    readJson: async path => {
      const json = await folder.readJson(path) as Record<string, unknown>;
      return changes[path] ? changes[path](json) : json;
    },
    readText: path => folder.readText(path),
    open: path => folder.open(path),
  };
}

/** The networks as diffusers saves them, beside the demo model's other files; `index`: what model_index.json says otherwise. */
async function torchFolder({ unet, vae, textEncoder }: StableDiffusionComponents, index: object = {}): Promise<ModelFolder> {
  const folder = await LocalFolder.open(DEMO_MODEL);
  const files: Record<string, Uint8Array | string> = {};
  const networks = { unet, vae, text_encoder: textEncoder };
  for (const path of ['scheduler/scheduler_config.json', 'tokenizer/tokenizer.json', 'tokenizer/tokenizer_config.json']) files[path] = await folder.readText(path);
  files['model_index.json'] = JSON.stringify({ ...await folder.readJson('model_index.json') as object, ...index });
  for (const [name, { config }] of Object.entries(networks)) files[`${name}/config.json`] = JSON.stringify(config);
  for (const [name, network] of Object.entries(networks)) {
    const values = network.stateDict();
    const tensors = [...network.parameterSpecs()].map(([key, spec]) => ({
      name: key, dtype: 'F32' as const, shape: torchShape(spec),
      bytes: () => {
        const value = values[key].transpose({ linear: [1, 0], pointwise: [1, 0], conv: [3, 2, 0, 1], plain: undefined }[spec.layout] ?? [...spec.shape.keys()]);
        const bytes = new Uint8Array(value.dataSync<'float32'>().slice().buffer);
        value.dispose();
        return bytes;
      },
    }));
    const pieces: Uint8Array[] = [];
    for await (const piece of writeSafetensors(tensors, { format: 'pt' })) pieces.push(piece);
    files[`${name}/${name === 'text_encoder' ? 'model' : 'diffusion_pytorch_model'}.safetensors`] = Buffer.concat(pieces);
  }
  return new MemoryFolder(files);
}

describeOnDevices('DiffusionPipeline.fromPretrained', device => {
  it('loads a folder and frees it again', async () => {
    await expectNoLeak(async () => {
      const progress: string[] = [];
      const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, {
        device, dtype: 'float32', useSafetensors: true,
        progressCallback: each => { if (each.stage === 'load' && each.loaded === each.total) progress.push(each.component); },
      });
      assert.ok(pipe instanceof StableDiffusionPipeline);
      assert.equal(pipe.device, device);
      assert.deepEqual(progress, ['text_encoder', 'unet', 'vae']);
      assert.equal(pipe.numParameters, pipe.unet.numParameters + pipe.vae.numParameters + pipe.textEncoder.numParameters);
      assert.ok(pipe.numParameters > 6e6);
      assert.ok(pipe.scheduler instanceof PNDMScheduler);
      assert.equal(pipe.vaeScaleFactor, 4);
      pipe.dispose();
      await assert.rejects(pipe.generate('a red circle'), /was disposed/);
      return [];
    });
  });

  it('makes the same picture of diffusers\' layout and of ours', async () => {
    await expectNoLeak(async () => {
      const ours = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device, compile: false });
      const theirs = await DiffusionPipeline.fromPretrained(await torchFolder(ours), { device, compile: false });
      const [one, two] = await Promise.all([ours, theirs].map(async pipe =>
        (await pipe.generate('a red circle', { numInferenceSteps: 2, generator: new Generator().manualSeed(1) })).images[0]));
      assert.deepEqual(one, two);
      ours.dispose();
      theirs.dispose();
      return [];
    });
  });

  it('takes components that are passed in, and makes pipelines of components', async () => {
    await expectNoLeak(async () => {
      const vae = await AutoencoderKL.fromPretrained(DEMO_MODEL, { subfolder: 'vae' });
      const scheduler = new EulerDiscreteScheduler({ steps_offset: 1 });
      const pipe = await StableDiffusionPipeline.fromPretrained(DEMO_MODEL, { device, vae, scheduler, compile: false });
      assert.equal(pipe.vae, vae);
      assert.equal(pipe.scheduler, scheduler);
      const other = new StableDiffusionPipeline(pipe.components);
      assert.deepEqual(Object.keys(other.components), ['vae', 'textEncoder', 'tokenizer', 'unet', 'scheduler', 'imageEncoder', 'featureExtractor', 'safetyChecker']);
      const [one] = (await pipe.generate('a red circle', { numInferenceSteps: 2, generator: new Generator().manualSeed(1) })).images;
      const [two] = (await other.generate('a red circle', { numInferenceSteps: 2, generator: new Generator().manualSeed(1) })).images;
      assert.deepEqual(one, two);
      pipe.dispose();
      return [];
    });
  });

  it('names a text encoder that does not fit the unet', async () => {
    const textEncoder = new CLIPTextModel({ vocab_size: 643, hidden_size: 64, num_attention_heads: 4, num_hidden_layers: 1, intermediate_size: 64 });
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device, textEncoder });
    await assert.rejects(pipe.generate('a red circle'), new RangeError('textEncoder: gives 64 features, the unet takes 128'));
    pipe.dispose();
  });

  it('corrects schedulers of old configs, as diffusers does', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    const scheduler = new DDIMScheduler();
    let made!: StableDiffusionPipeline;
    const warnings = await captureWarnings(() => { made = new StableDiffusionPipeline({ ...pipe.components, scheduler }); });
    assert.deepEqual(warnings, ['scheduler config: steps_offset 0 and clip_sample true are outdated, taking 1 and false']);
    assert.ok(made.scheduler instanceof DDIMScheduler);
    assert.deepEqual(made.scheduler.config, { ...scheduler.config, steps_offset: 1, clip_sample: false });
    assert.deepEqual([scheduler.config.steps_offset, scheduler.config.clip_sample], [0, true]); // the caller's stays as it is
    const old = new PNDMScheduler({ skip_prk_steps: false });
    const offsetAlone = await captureWarnings(() => { made = new StableDiffusionInpaintPipeline({ ...pipe.components, scheduler }); });
    assert.deepEqual(offsetAlone, ['scheduler config: steps_offset 0 is outdated, taking 1']);
    const inpaint = await captureWarnings(() => { made = new StableDiffusionInpaintPipeline({ ...pipe.components, scheduler: old }); });
    assert.deepEqual(inpaint, ['scheduler config: steps_offset 0 and skip_prk_steps false are outdated, taking 1 and true']);
    const controlnet = new ControlNetModel({ ...pipe.unet.config, conditioning_embedding_out_channels: [4, 8] });
    const untouched = await captureWarnings(() => { made = new StableDiffusionControlNetPipeline({ ...pipe.components, scheduler, controlnet }); });
    assert.deepEqual(untouched, []);
    assert.equal(made.scheduler, scheduler);
    controlnet.dispose();
    pipe.dispose();
  });

  it('takes UNets of old configs to be trained on 64 latents and more, as diffusers does', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    const classes: Record<string, typeof StableDiffusionPipeline> = { StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline };
    for (const [name, _diffusers_version, sample_size, expected] of loadGolden('pipelines/sample_sizes').meta) {
      if (!classes[name]) continue;
      const unet = new UNet2DConditionModel({ ...pipe.unet.config, _diffusers_version, sample_size });
      let made!: StableDiffusionPipeline;
      const warnings = await captureWarnings(() => { made = new classes[name]({ ...pipe.components, unet }); });
      assert.deepEqual(made.defaultSampleSize, expected, `${name}, ${_diffusers_version}, ${sample_size}`);
      assert.deepEqual(unet.config.sample_size, sample_size); // the caller's stays as it is
      assert.equal(warnings.length, expected === 64 && sample_size !== 64 ? 1 : 0);
    }
    const unet = new UNet2DConditionModel({ ...pipe.unet.config, _diffusers_version: '0.6.0', sample_size: 32 });
    let made!: StableDiffusionPipeline;
    const warnings = await captureWarnings(() => { made = new StableDiffusionPipeline({ ...pipe.components, unet }); });
    assert.deepEqual(warnings, ["unet config: sample_size 32 of diffusers '0.6.0' is outdated, taking 64"]);
    const latents = tf.zeros([1, 1, 1, 4]);
    await assert.rejects(made.generate('a red circle', { latents }), /^RangeError: latents: got shape \[1, 1, 1, 4\], takes \[1, 64, 64, 4\]$/);
    latents.dispose();
    pipe.dispose();
  });

  it('takes the parts of a pipeline of any name where a class is asked for, and makes the class that is named', async () => {
    const safe = await folderWith({ 'model_index.json': json => ({ ...json, _class_name: 'StableDiffusionPipelineSafe', safety_checker: ['stable_diffusion_safe', 'SafeStableDiffusionSafetyChecker'] }) });
    const asked = await StableDiffusionPipeline.fromPretrained(safe, { device });
    assert.equal(asked.constructor, StableDiffusionPipeline);
    asked.dispose();
    for (const Class of [LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline]) {
      const named = await DiffusionPipeline.fromPretrained(await folderWith({ 'model_index.json': json => ({ ...json, _class_name: Class.name }) }), { device });
      assert.equal(named.constructor, Class);
      assert.deepEqual(named.defaults, { numInferenceSteps: 4, guidanceScale: 8.5 });
      named.dispose();
    }
  });

  it('takes the other classes that a text encoder and a VAE can be of', () => expectNoLeak(async () => {
    const source = await StableDiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    const tiny = { encoder_block_out_channels: [4, 4], decoder_block_out_channels: [4, 4], num_encoder_blocks: [1, 1], num_decoder_blocks: [1, 1] };
    const parts = { ...source.components, vae: new AutoencoderTiny(tiny), textEncoder: new CLIPTextModelWithProjection({ ...source.textEncoder.config, projection_dim: 5 }) };
    const folder = await torchFolder(parts, { vae: ['diffusers', 'AutoencoderTiny'], text_encoder: ['transformers', 'CLIPTextModelWithProjection'] });
    const pipe = await DiffusionPipeline.fromPretrained(folder, { device });
    assert.ok(pipe.vae instanceof AutoencoderTiny);
    assert.ok(pipe.textEncoder instanceof CLIPTextModelWithProjection);
    const { images } = await pipe.generate('a star', { numInferenceSteps: 1, generator: new Generator().manualSeed(0), outputType: 'tensor' });
    [source, pipe, parts.vae, parts.textEncoder].forEach(each => each.dispose());
    return images;
  }));

  const index = (change: object) => folderWith({ 'model_index.json': json => ({ ...json, ...change }) });
  const cases: Array<[string, () => string | Promise<ModelFolder>, RegExp]> = [
    ['a missing folder', () => 'no/such/folder', /no\/such\/folder: there is no such folder, and no model on the hub is called so: they are called as in 'owner\/name'$/],
    ['a file', () => `${DEMO_MODEL}/model_index.json`, /model_index\.json: is a file, takes the folder of a model, or a \.safetensors, \.gguf or \.ckpt file$/],
    ['a folder of another kind', () => 'spec', /spec: has no model_index\.json, takes a whole pipeline$/],
    ['an index that is no object', () => folderWith({ 'model_index.json': () => [] }), /demo\/model_index\.json: got \[\], takes an object$/],
    ['an unknown pipeline', () => index({ _class_name: 'StableDiffusionPipelineSafe' }),
      /demo\/model_index\.json: _class_name: got 'StableDiffusionPipelineSafe', takes .*'StableDiffusionPipeline', .*'StableDiffusionXLInpaintPipeline', .*; StableDiffusionPipeline\.fromPretrained tries the parts of any$/],
    ['a pipeline of no name', () => index({ _class_name: ['toString'] }), /_class_name: got \[toString\], takes .*'StableDiffusionPipeline',/],
    ['an unknown network', () => index({ unet: ['diffusers', 'UNet3DConditionModel'] }),
      /demo\/model_index\.json: unet: got 'UNet3DConditionModel', takes 'UNet2DConditionModel'$/],
    ['an unknown text encoder', () => index({ text_encoder: ['transformers', 'T5EncoderModel'] }), /text_encoder: got 'T5EncoderModel', takes 'CLIPTextModel', 'CLIPTextModelWithProjection'$/],
    ['an unknown scheduler', () => index({ scheduler: ['diffusers', 'MagicScheduler'] }), /scheduler: got 'MagicScheduler', takes .*'PNDMScheduler'/],
    ['a missing component', () => index({ vae: undefined }), /demo\/model_index\.json: vae: got undefined, takes 'AutoencoderKL', 'AutoencoderTiny'$/],
    ['a config of another class', () => folderWith({ 'vae/config.json': json => ({ ...json, _class_name: 'VQModel' }) }),
      /demo\/vae\/config\.json: _class_name: got 'VQModel', takes 'AutoencoderKL'$/],
    ['weights that do not fit', () => folderWith({ 'vae/config.json': json => ({ ...json, latent_channels: 8 }) }), /AutoencoderKL: the weights of .* do not fit: /],
    ['missing weights', () => folderWith({ 'vae/diffusion_pytorch_model.safetensors': null }), /demo\/vae: has no weights/],
  ];
  for (const [name, folder, expected] of cases) {
    it(`names ${name}, and frees what it loaded`, () => expectNoLeak(async () => {
      await assert.rejects(async () => DiffusionPipeline.fromPretrained(await folder(), { device }), expected);
      return [];
    }));
  }
});

describe('DiffusionPipeline', () => {
  it('names an unknown device', async () => {
    await assert.rejects(DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'tpu' as 'cpu' }), /device: got 'tpu', takes 'auto'/);
  });

  it('moves to another device', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    assert.equal(await pipe.to('auto'), pipe);
    const { images } = await pipe.generate('a red circle', { numInferenceSteps: 2, outputType: 'tensor' });
    assert.equal(tf.getBackend(), ['cpu', 'cuda'].includes(pipe.device!) ? 'tensorflow' : pipe.device);
    images.dispose();
    pipe.dispose();
  });

  it('tells options of Python by the names that they have here, and what is no option', async () => {
    const load = (options: object) => DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm', ...options });
    await assert.rejects(load({ torch_dtype: 'float16' }), /^TypeError: fromPretrained: there is no option 'torch_dtype': it is called dtype here; takes device, /);
    await assert.rejects(load({ use_safetensors: true }), /there is no option 'use_safetensors': it is called useSafetensors here;/);
    await assert.rejects(load({ text_encoder: null }), /there is no option 'text_encoder': it is called textEncoder here;/);
    await assert.rejects(load({ safety_checker: null }), /there is no option 'safety_checker': it is called safetyChecker here;/);
    await assert.rejects(load({ magic: 1 }), /there is no option 'magic'; takes device, dtype, .*, unet, vae, imageEncoder, featureExtractor, safetyChecker$/);
    await assert.rejects(UNet2DConditionModel.fromPretrained(DEMO_MODEL, { torchDtype: 'float16' } as never), /'torchDtype': it is called dtype here;/);
  });

  it('asks for a scheduler where it gets a class, or something else', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    pipe.scheduler = EulerDiscreteScheduler as never;
    const itsClass = /^TypeError: scheduler: got the class EulerDiscreteScheduler, takes one of it: EulerDiscreteScheduler\.fromConfig\(pipe\.scheduler\.config\)$/;
    await assert.rejects(pipe.generate('a star'), itsClass);
    assert.throws(() => new StableDiffusionPipeline({ ...pipe.components, scheduler: EulerDiscreteScheduler as never }), itsClass);
    assert.throws(() => new StableDiffusionPipeline({ ...pipe.components, scheduler: {} as never }), /^TypeError: scheduler: got \[object Object\], takes a Scheduler$/);
    pipe.dispose();
  });

  it('asks for parts that are missing, or others', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    assert.throws(() => StableDiffusionXLPipeline.fromPipe(pipe), /^TypeError: tokenizer2: got undefined, takes CLIPTokenizer or CLIPTokenizerFast$/);
    assert.throws(() => StableDiffusion3Pipeline.fromPipe(pipe), /^TypeError: tokenizer2: got undefined, takes CLIPTokenizer or CLIPTokenizerFast$/);
    assert.throws(() => StableDiffusionPipeline.fromPipe(pipe, { vae: pipe.unet as never }), /^TypeError: vae: got UNet2DConditionModel, takes AutoencoderKL or AutoencoderTiny$/);
    for (const [part, message] of [
      [{ vae: true }, /^TypeError: vae: got true, takes AutoencoderKL or AutoencoderTiny$/], [{ tokenizer: 'x' }, /^TypeError: tokenizer: got 'x', takes CLIPTokenizer or/],
    ] as const) await assert.rejects(DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm', ...part as object }), message);
    pipe.dispose();
  });

  it('gives pictures where options are kept by their type', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    pipe.setProgressBarConfig({ disable: true });
    const options: GenerateOptions = { numInferenceSteps: 1 };
    const { images } = await pipe.generate('a star', options);
    assert.equal(images[0].width, 64);
    pipe.dispose();
  });

  it('refuses sizes that no memory holds', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    await assert.rejects(pipe.generate('a star', { width: 1e6, height: 1e5 }),
      /^RangeError: width, height: got 1000000 x 100000 pixels, which take [\d.]+ TB and more, and there are [\d.]+ GB; takes smaller ones, or enableVaeTiling\(\)$/);
    pipe.dispose();
  });
});
