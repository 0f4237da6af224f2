import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FloatDtype } from '../../lib/core/float16.js';
import { LocalFolder } from '../../lib/files/local_folder.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { MultiControlNetModel } from '../../lib/models/multi_controlnet.js';
import { DiffusionPipeline, StableDiffusionControlNetPipeline, StableDiffusionPipeline } from '../../lib/pipelines/index.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { convertModel } from '../../weights-converter/convert.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { refinerFolder, seeded, TINY, TINY_XL } from '../support/tiny_pipeline.js';

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8')) as Record<string, unknown>;
/** What model_index.json says, but for who wrote it. */
const indexOf = (folder: string) => Object.fromEntries(Object.entries(json(folder, 'model_index.json')).filter(([key]) => key !== '_diffusers_version'));
const weightsOf = (folder: string) => {
  const file = readdirSync(folder).find(name => name.endsWith('.safetensors'))!;
  return { file, ...readSafetensors(readFileSync(join(folder, file))) };
};

/** Latents of two steps. */
async function draws(pipe: DiffusionPipeline, prompt = 'a red star on a road') {
  pipe.setProgressBarConfig({ disable: true });
  const { images } = await (pipe as StableDiffusionPipeline).generate(prompt, { numInferenceSteps: 2, generator: seeded(3), outputType: 'latent' });
  const values = { shape: images.shape, data: images.dataSync<'float32'>() };
  images.dispose();
  return values;
}

describeOnDevices('savePretrained', device => {
  const folder = temporaryFolder();
  const saved = () => join(folder(), 'saved');

  for (const [name, source] of Object.entries({ 'Stable Diffusion 1.x': TINY, 'Stable Diffusion 2.x': `${TINY}_sd2`, 'Stable Diffusion XL': TINY_XL })) {
    it(`writes what diffusers wrote: ${name}`, () => expectNoLeak(async () => {
      const pipe = await DiffusionPipeline.fromPretrained(source, { device, dtype: 'float16' });
      const told: Array<{ loaded: number; total: number }> = [];
      await pipe.savePretrained(saved(), { onProgress: progress => told.push(progress) });
      assert.equal(told.at(-1)!.loaded, told.at(-1)!.total);

      const index = indexOf(source);
      assert.deepEqual(indexOf(saved()), index);
      for (const [part, entry] of Object.entries(index)) {
        const className = Array.isArray(entry) ? entry[1] as string | null : null;
        if (!className || className.startsWith('CLIPTokenizer')) continue;
        const config = className.endsWith('Scheduler') ? 'scheduler_config.json' : 'config.json';
        const [ours, theirs] = [saved(), source].map(path => json(path, part, config));
        const left = Object.keys(theirs).filter(key => !Object.hasOwn(ours, key));
        assert.deepEqual({ ...theirs, ...ours }, theirs, part); // no key is another
        const unused = className.startsWith('CLIP') ? ['attention_dropout', 'dtype', 'initializer_factor', 'initializer_range', 'transformers_version'] : [];
        assert.deepEqual(left.sort(), unused, part);
        if (className.endsWith('Scheduler')) continue;
        const [made, original] = [saved(), source].map(path => weightsOf(join(path, part)));
        assert.equal(made.file, original.file);
        const key = (name: string) => Object.hasOwn(made.tensors, name) ? name : `text_model.${name}`;
        assert.deepEqual(made.tensors, Object.fromEntries(Object.entries(original.tensors).map(([name, tensor]) => [key(name), halved(tensor, pipe, part)])));
      }
      const expected = await draws(pipe);
      pipe.dispose();
      const again = await DiffusionPipeline.fromPretrained(saved(), { device, dtype: 'float16' });
      assert.deepEqual(await draws(again), expected);
      again.dispose();
      return [];
    }));
  }

  /** float32 where a VAE is kept so. */
  function halved<T extends { dtype: string }>(tensor: T, pipe: DiffusionPipeline, part: string): T {
    const { weightDtype } = (pipe.components as Record<string, { weightDtype?: FloatDtype }>)[part] ?? {};
    return weightDtype === 'float32' ? { ...tensor, dtype: 'F32' } : tensor;
  }

  it('writes what changed since it was loaded: LoRAs that act, learned words, the scheduler', () => expectNoLeak(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config, { use_karras_sigmas: true });
    await pipe.loadTextualInversion('spec/golden/textual_inversion/hat.safetensors', { token: '<hat>' });
    await pipe.loadLoraWeights('spec/golden/lora', { adapterScale: 0.7 });
    const prompt = 'a <hat> on a road';
    const expected = await draws(pipe, prompt);
    await pipe.savePretrained(saved());
    assert.deepEqual(await draws(pipe, prompt), expected, 'and changes nothing');
    await pipe.unloadLoraWeights();
    assert.notDeepEqual(await draws(pipe, prompt), expected);
    const again = await StableDiffusionPipeline.fromPretrained(saved(), { device });
    assert.ok(again.scheduler instanceof DPMSolverMultistepScheduler && again.scheduler.config.use_karras_sigmas);
    assert.deepEqual(again.tokenizer.encode(prompt), pipe.tokenizer.encode(prompt));
    assert.equal(again.textEncoder.config.vocab_size, 526);
    expectClose(await draws(again, prompt), expected, { atol: 1e-5, rtol: 1e-5 });
    pipe.dispose();
    again.dispose();
    return [];
  }));

  it('writes weights that are off the device, or in fewer bits, as numbers of a type', () => expectNoLeak(async () => {
    await convertModel('models/shapes', join(folder(), 'int8'), { dtype: 'int8' });
    const pipe = await StableDiffusionPipeline.fromPretrained(join(folder(), 'int8'), { device, cpuOffload: 'model' });
    await pipe.savePretrained(saved(), { dtype: 'float32', maxShardSize: 5e6 });
    const shards = readdirSync(join(saved(), 'unet')).filter(name => name.endsWith('.safetensors'));
    assert.ok(shards.length > 1 && existsSync(join(saved(), 'unet', 'diffusion_pytorch_model.safetensors.index.json')));
    const again = await StableDiffusionPipeline.fromPretrained(saved(), { device });
    expectClose(await draws(again), await draws(pipe), { atol: 1e-5, rtol: 1e-5 });
    pipe.dispose();
    again.dispose();
    return [];
  }));

  it('writes a network alone, and several side by side', () => expectNoLeak(async () => {
    const vae = await AutoencoderKL.fromPretrained(TINY, { dtype: 'bfloat16' });
    await vae.savePretrained(saved());
    assert.deepEqual(new Set(Object.values(weightsOf(saved()).tensors).map(({ dtype }) => dtype)), new Set(['BF16']));
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const net = new ControlNetModel({ ...pipe.unet.config, conditioning_embedding_out_channels: [4, 8] });
    const nets = new MultiControlNetModel([net, new ControlNetModel(net.config)]);
    const steered = new StableDiffusionControlNetPipeline({ ...pipe.components, controlnet: nets });
    await steered.savePretrained(join(folder(), 'steered'));
    await nets.savePretrained(join(folder(), 'nets'));
    assert.deepEqual(json(folder(), 'steered', 'model_index.json').controlnet, ['diffusers', 'MultiControlNetModel']);
    const both = await Promise.all(['steered', 'nets'].map(async place => (
      MultiControlNetModel.fromPretrained(await LocalFolder.open(folder()), { subfolder: place === 'steered' ? 'steered/controlnet' : 'nets' })
    )));
    for (const again of both) {
      assert.equal(again.nets.length, 2);
      const [expected, values] = [nets, again].map(each => Object.entries(each.stateDict()).map(([path, value]) => [path, value.dataSync()]));
      assert.deepEqual(values, expected);
      again.dispose();
    }
    const whole = await DiffusionPipeline.fromPretrained(join(folder(), 'steered'), { device });
    assert.ok(whole instanceof StableDiffusionControlNetPipeline && whole.controlnet instanceof MultiControlNetModel);
    [vae, nets, pipe, whole].forEach(each => each.dispose());
    return [];
  }));

  it('writes a refiner, which has one text encoder and is told a score', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(refinerFolder(join(folder(), 'refiner')), { device });
    await pipe.savePretrained(saved());
    assert.deepEqual(indexOf(saved()), indexOf(join(folder(), 'refiner')));
    (await DiffusionPipeline.fromPretrained(saved(), { device })).dispose();
    pipe.dispose();
  });

  it('leaves nothing where it cannot be done, and says why', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const fails = async (error: RegExp, options: object = {}, place: unknown = saved()) => {
      await assert.rejects(pipe.savePretrained(place as string, options), error);
      assert.deepEqual(readdirSync(folder()), []);
    };
    await fails(/^TypeError: folder: got 3, takes the path of a new folder$/, {}, 3);
    await fails(/^TypeError: savePretrained: there is no option 'torch_dtype': it is called dtype here; takes dtype, maxShardSize, onProgress, signal$/, { torch_dtype: 'float16' });
    await fails(/^RangeError: dtype: got 'int8', takes 'float32', 'float16', 'bfloat16'$/, { dtype: 'int8' });
    await fails(/^RangeError: maxShardSize: got 0, takes a whole number, 1 or more$/, { maxShardSize: 0 });
    await fails(/^AbortError/, { signal: AbortSignal.abort() });
    await fails(/: exists already; name a folder that is new or empty$/, {}, 'spec/golden');
    await pipe.loadIpAdapter('spec/golden/pipelines/ip_adapter', { weightName: 'plus.safetensors' });
    await fails(/^WeightsError: UNet2DConditionModel: .*processor.* has no place in its folder: unload the IP-Adapter or the LoRA that brought it$/);
    pipe.dispose();
  });
});
