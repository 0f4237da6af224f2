import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpointFile } from '../../lib/loading/open_checkpoint_file.js';
import { openModelFolder } from '../../lib/loading/open_model_folder.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { completeUNetConfig } from '../../lib/models/unet_2d_condition_config.js';
import { openWeightFiles } from '../../lib/loading/weight_files.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionUpscalePipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_upscale.js';
import type { Scheduler } from '../../lib/schedulers/scheduler.js';
import { convertModel } from '../../weights-converter/convert.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { HubServer } from '../support/hub_server.js';
import { matchWeights } from '../../lib/weights/load_weights.js';
import { digestsOf, DISTILLED, SEEING, shortHash, singleFile, singleFileGolden } from '../support/single_file.js';
import { temporaryFolder } from '../support/temporary_folder.js';

const vaeFile = 'spec/golden/checkpoints/vae.ckpt';

describe('A single file', () => {
  const folder = temporaryFolder();

  for (const generation of ['sd1', 'sd2', 'xl', 'refiner'] as const) {
    const { shapes, saved } = singleFileGolden[generation];

    it(`of ${generation} holds what diffusers' from_single_file and save_pretrained make of it, to the last bit`, async () => {
      const file = join(folder(), 'model.safetensors');
      await writeFile(file, await singleFile(shapes));
      const model = await openModelFolder(file);
      for (const [part, digests] of Object.entries(saved)) {
        const found = await digestsOf(await model.open(`${part}/${part.startsWith('text') ? 'model' : 'diffusion_pytorch_model'}.safetensors`));
        assert.deepEqual(shortened(found), shortened(digests), part);
      }
      await convertModel(file, join(folder(), 'out'), { verify: true, maxShardSize: 4_000_000 });
    });
  }

  for (const name of DISTILLED) {
    it(`of ${name} says by its keys what diffusers is told by a config, and holds what it makes of it`, async () => {
      const { shapes, unet, digest } = singleFileGolden[name];
      const file = join(folder(), 'model.safetensors');
      await writeFile(file, await singleFile(shapes));
      const model = await openModelFolder(file);
      assert.deepEqual(completeUNetConfig(await model.readJson('unet/config.json') as object), completeUNetConfig(unet!));
      const found = await digestsOf(await model.open('unet/diffusion_pytorch_model.safetensors'));
      assert.equal(shortHash(Object.keys(found).sort().map(key => `${key} ${found[key]}\n`).join('')), digest);
      const pipe = await DiffusionPipeline.fromSingleFile(file, { device: 'wasm' });
      assert.equal(pipe.constructor.name, 'StableDiffusionXLPipeline');
      pipe.dispose();
    });
  }

  for (const name of SEEING) {
    it(`of a model that sees a picture, ${name}, holds what diffusers makes of it, and says for which pipeline it is`, async () => {
      const { shapes, unet, digest, class: className } = singleFileGolden[name];
      const file = join(folder(), 'model.safetensors');
      await writeFile(file, await singleFile(shapes));
      const model = await openModelFolder(file);
      assert.deepEqual(completeUNetConfig(await model.readJson('unet/config.json') as object), completeUNetConfig(unet));
      let lines = '';
      for (const part of ['unet', 'vae']) {
        const found = await digestsOf(await model.open(`${part}/diffusion_pytorch_model.safetensors`));
        lines += Object.keys(found).sort().map(key => `${part} ${key} ${found[key]}\n`).join('');
      }
      assert.equal(shortHash(lines), digest);
      const textEncoder = new CLIPTextModel({ hidden_size: 768 });
      const pipe = await DiffusionPipeline.fromSingleFile(file, { device: 'wasm', textEncoder });
      assert.equal(pipe.constructor.name, className);
      if (pipe instanceof StableDiffusionUpscalePipeline) {
        const { scheduler, lowResScheduler, maxNoiseLevel, vae } = pipe;
        assert.deepEqual([scheduler, lowResScheduler].map(each => (each.constructor as typeof Scheduler).className), ['DDIMScheduler', 'DDPMScheduler']);
        assert.deepEqual([scheduler.config.prediction_type, maxNoiseLevel, vae.config.scaling_factor], ['v_prediction', 350, 0.08333]);
      }
      pipe.dispose();
    });
  }

  for (const layers of ['with a middle', 'without']) {
    it(`of a UNet with one resnet a level, ${layers}, has SD1.x's numbers with gaps, as BK-SDM and small-sd, or none`, async () => {
      const own = Object.entries(singleFileGolden.edit.shapes).filter(([key]) => layers === 'with a middle' || !key.includes('.middle_block.'));
      const gaps = (key: string) => key.replace(/(input|output)_blocks\.(\d+)\.(\d+)\.(conv\.)?/, (_, way: string, digits: string, index: string, conv = '') => {
        const number = Number(digits) - (way === 'input' ? 1 : 0);
        const isLarger = conv !== '' || (way === 'input' && number % 2 === 1);
        const gapped = 3 * Math.floor(number / 2) + (isLarger ? 2 : number % 2);
        return number < 0 ? `input_blocks.0.${index}.${conv}` : `${way}_blocks.${way === 'input' ? gapped + 1 : gapped}.${index}.${conv}`;
      });
      const [dense, gapped] = await Promise.all([(key: string) => key, gaps].map(async (rename, i) => {
        const file = join(folder(), `${i}.safetensors`);
        await writeFile(file, await singleFile(Object.fromEntries(own.map(([key, shape]) => [rename(key), shape]))));
        const model = await openModelFolder(file);
        const config = await model.readJson('unet/config.json') as Record<string, unknown>;
        await matchWeights('unet', new UNet2DConditionModel(config).parameterSpecs(), await openWeightFiles(model, { subfolder: 'unet' })); // strict
        return { config, digests: await digestsOf(await model.open('unet/diffusion_pytorch_model.safetensors')) };
      }));
      assert.ok(own.some(([key]) => gaps(key) !== key));
      assert.deepEqual(gapped, dense);
      assert.deepEqual([gapped.config.layers_per_block, gapped.config.mid_block_type], [1, layers === 'without' ? null : undefined]);
    });
  }

  it('of one network by diffusers\' keys is told how it is built, by a config or where one is', async () => {
    const source = 'spec/golden/pipelines/tiny';
    const file = join(folder(), 'unet_alone.safetensors');
    await writeFile(file, readFileSync(`${source}/unet/diffusion_pytorch_model.safetensors`));
    const whole = await UNet2DConditionModel.fromPretrained(source, { subfolder: 'unet' });
    for (const options of [{ config: source, subfolder: 'unet' }, { config: source }, { config: whole.config }]) {
      const alone = await UNet2DConditionModel.fromSingleFile(file, options);
      assert.deepEqual(alone.config, whole.config);
      const [expected, found] = [whole, alone].map(network => network.stateDict());
      assert.deepEqual(found['conv_in.weight'].dataSync(), expected['conv_in.weight'].dataSync());
      alone.dispose();
    }
    whole.dispose();
    await assert.rejects(UNet2DConditionModel.fromSingleFile(file, { config: source, subfolder: 'vae' }), /vae\/config\.json: _class_name: got 'AutoencoderKL'/);
  });

  it('that a user picked in a page is the same, with the vocabulary from where the page says', async () => {
    const bytes = await singleFile(singleFileGolden.xl.shapes) as Buffer<ArrayBuffer>;
    const path = join(folder(), 'model.safetensors');
    await writeFile(path, bytes);
    const named = await openModelFolder(path);
    const file = new File([bytes], 'model.safetensors');
    const picked = await openCheckpointFile(file, { clipTokenizer: 'models/clip-tokenizer', predictionType: 'v_prediction' });
    for (const text of ['model_index.json', 'unet/config.json', 'tokenizer/vocab.json', 'tokenizer_2/merges.txt']) {
      assert.ok(await picked.readText(text) === await named.readText(text), text);
    }
    assert.equal((await picked.readJson('scheduler/scheduler_config.json') as { prediction_type: string }).prediction_type, 'v_prediction');
    const [ours, theirs] = await Promise.all([picked, named].map(each => each.open('vae/diffusion_pytorch_model.safetensors')));
    assert.deepEqual(await ours.read(0, ours.size), await theirs.read(0, theirs.size));
    await theirs.close();
    const lost = await openCheckpointFile(file, { clipTokenizer: 'models/shapes' });
    await assert.rejects(lost.readText('tokenizer/merges.txt'), /^ModelFileError: models\/shapes\/merges\.txt\.gz: there is no such file/);
    const pickle = new File(['PK\x03\x04'], 'pickle.ckpt');
    await assert.rejects(openCheckpointFile(pickle, { clipTokenizer: 'models/clip-tokenizer' }), /^PickleError: pickle\.ckpt: cannot be read as a zip/);
  });

  it('lacks what may be passed in', async () => {
    const file = join(folder(), 'model.safetensors');
    await writeFile(file, await singleFile(singleFileGolden.sd1.shapes, /^(first_stage_model|cond_stage_model)\./));
    const parts = { vae: await AutoencoderKL.fromSingleFile(vaeFile), textEncoder: new CLIPTextModel({ hidden_size: 768 }) };
    const pipe = await StableDiffusionPipeline.fromSingleFile(file, { ...parts, device: 'wasm' });
    assert.equal(pipe.vae, parts.vae);
    pipe.dispose();
    const { textEncoder } = parts;
    await assert.rejects(DiffusionPipeline.fromSingleFile(file, { textEncoder, device: 'wasm' }),
      { name: 'ModelFileError', message: `${file}: has no VAE (first_stage_model.*); fromSingleFile takes one as the option vae` });
    const { vae } = parts;
    await assert.rejects(DiffusionPipeline.fromSingleFile(file, { vae, device: 'wasm' }),
      /has no text encoder \(cond_stage_model\.transformer\.\* or cond_stage_model\.model\.\*\); give it or its file as the option textEncoder$/);
    await assert.rejects(convertModel(file, join(folder(), 'out')), /has no VAE/);
  });

  it('tells what it is not', async () => {
    await assert.rejects(DiffusionPipeline.fromPretrained(vaeFile, { device: 'wasm' }), /vae\.ckpt: has no model_index\.json, takes a whole pipeline$/);
    await assert.rejects(UNet2DConditionModel.fromPretrained(vaeFile), /vae\.ckpt\/config\.json: _class_name: got 'AutoencoderKL', takes 'UNet2DConditionModel'/);
    await assert.rejects(AutoencoderKL.fromSingleFile('package.json'), /^ModelFileError: package\.json: is a file, takes the folder of a model, or a \.safetensors, \.gguf or \.ckpt file$/);
    await assert.rejects(AutoencoderKL.fromSingleFile('models/shapes/vae/diffusion_pytorch_model.safetensors'),
      /diffusion_pytorch_model\.safetensors: is one file of a model in diffusers' layout: load the folder, where the config\.json is$/);
    await assert.rejects(AutoencoderKL.fromSingleFile('models/none.safetensors'), /^ModelFileError: models\/none\.safetensors: there is no such file$/);
    await assert.rejects(DiffusionPipeline.fromPretrained('models/shapes', { device: 'wasm', predictionType: 'epsilon' }),
      /^RangeError: predictionType: got 'epsilon' for a folder, takes none/);
    const file = join(folder(), 'model.safetensors');
    await writeFile(file, await singleFile(singleFileGolden.sd1.shapes));
    await assert.rejects(openModelFolder(file, { predictionType: 'sample' as 'epsilon' }), /predictionType: got 'sample', takes 'epsilon', 'v_prediction'$/);
  });

  describe('on the hub', () => {
    let server: HubServer;
    before(async () => { server = await HubServer.start(); });
    after(() => server.close());
    const hub = () => ({ endpoint: server.endpoint, cacheDir: folder(), token: false as const });

    it('is named by its address', async () => {
      server.push('owner/vae', { 'files/vae.ckpt': readFileSync(vaeFile), 'README.md': '' });
      for (const kind of ['blob', 'resolve']) {
        (await AutoencoderKL.fromSingleFile(`${server.endpoint}/owner/vae/${kind}/main/files/vae.ckpt?download=true`, hub())).dispose();
      }
      assert.deepEqual(server.fetched, ['files/vae.ckpt']);
      await assert.rejects(AutoencoderKL.fromSingleFile(`${server.endpoint}/owner/vae/blob/main/none.ckpt`, hub()),
        /^ModelFileError: owner\/vae\/none\.ckpt: there is no such file at revision 'main'$/);
      await assert.rejects(AutoencoderKL.fromSingleFile('https://example.com/owner/vae/blob/main/vae.ckpt', hub()),
        /^ModelFileError: 'https:\/\/example\.com.*takes the address of a file on the hub, as in 'http:.*\/owner\/name\/blob\/main\/model\.safetensors'$/);
    });
  });
});

describeOnDevices('A single file', device => {
  const folder = temporaryFolder();

  it('of a VAE gives what diffusers gives, at once or converted', async () => {
    const { tensors } = loadGolden('checkpoints/vae');
    const tensor = (name: string) => tf.tensor(tensors[name].data as Float32Array, [...tensors[name].shape]);
    const out = join(folder(), 'out');
    await convertModel(vaeFile, out, { verify: true });
    for (const load of [() => AutoencoderKL.fromSingleFile(vaeFile), () => AutoencoderKL.fromPretrained(out)]) {
      await expectNoLeak(async () => {
        const vae = await load();
        const [latents, image] = [tensor('latents'), tensor('image')];
        const decoded = vae.decode(latents);
        const { mean, logvar } = vae.encode(image).latentDist;
        expectClose(decoded, tensors.decoded, { atol: 1e-4, rtol: 1e-4 });
        expectClose(mean, tensors.mean, { atol: 1e-4, rtol: 1e-4 });
        vae.dispose();
        tf.dispose([latents, image, decoded, mean, logvar]);
        return [];
      });
    }
  });

  it('becomes a pipeline, and each of its networks alone, at once or converted', async () => {
    const [file, out] = [join(folder(), 'model.safetensors'), join(folder(), 'out')];
    await writeFile(file, await singleFile({ ...singleFileGolden.sd2.shapes, 'bundle_emb.<toy>.string_to_param.*': [2, singleFileGolden.sd2.shapes['cond_stage_model.model.ln_final.weight'][0]] }));
    await convertModel(file, out, { predictionType: 'epsilon' });
    const values: Array<Record<string, tf.TypedArray>> = [];
    for (const [source, options] of [[file, { predictionType: 'epsilon' as const }], [out, {}]] as const) {
      const pipe = await DiffusionPipeline.fromPretrained(source, { ...options, device });
      const { prediction_type: prediction } = pipe.scheduler.config as { prediction_type: string };
      assert.deepEqual([prediction, pipe.unet.config.sample_size, pipe.constructor.name], ['epsilon', 64, 'StableDiffusionPipeline']);
      assert.deepEqual(pipe.tokenizer.encode('a cat')[0].slice(0, 5), [49406, 320, 2368, 49407, 0]);
      assert.deepEqual(pipe.tokenizer.encode('a <toy>')[0].slice(0, 5), [49406, 320, 49408, 49409, 49407], 'a word that it brings along');
      for (const [Network, network] of [[UNet2DConditionModel, pipe.unet], [AutoencoderKL, pipe.vae], [CLIPTextModel, pipe.textEncoder]] as const) {
        const alone = await (Network as typeof UNet2DConditionModel).fromPretrained(source, options);
        const [path, value] = Object.entries(alone.stateDict())[0];
        assert.deepEqual(value.dataSync(), network.stateDict()[path].dataSync().slice(0, value.size)); // a table of embeddings grew
        alone.dispose();
      }
      values.push(Object.fromEntries(Object.entries(pipe.textEncoder.stateDict()).map(([path, value]) => [path, value.dataSync()])));
      pipe.dispose();
    }
    assert.deepEqual(values[0], values[1], 'queries, keys and values are cut out of one tensor');
  });
});

/** As transformers names a text encoder's weights, with or without its prefix. */
function shortened(digests: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(digests).map(([key, digest]) => [key.replace(/^text_model\./, ''), digest]));
}
