import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Block } from '../../lib/core/block.js';
import { canCompile } from '../../lib/core/graph.js';
import { Image } from '../../lib/image/image.js';
import { AutoPipelineForImage2Image, AutoPipelineForInpainting } from '../../lib/pipelines/auto_pipeline.js';
import { describeModel } from '../../lib/pipelines/describe_model.js';
import {
  DiffusionPipeline, StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline, StableDiffusion3Pipeline,
} from '../../lib/pipelines/index.js';
import type { SD3Options, SkipLayerOptions } from '../../lib/pipelines/stable_diffusion_3/sd3_options.js';
import { encodeWeightedPrompt } from '../../lib/pipelines/weighted_prompt.js';
import { convertModel } from '../../weights-converter/convert.js';
import { FlowMatchEulerDiscreteScheduler } from '../../lib/schedulers/index.js';
import { T5Tokenizer } from '../../lib/tokenizer/t5_tokenizer.js';
import { writeSafetensors } from '../../lib/weights/safetensors.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { seeded, TINY_SD3 } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

const ROAD = 'a road and a tree on it';
type Options = SD3Options<'image'> & SkipLayerOptions;

const draw = async (pipe: StableDiffusion3Pipeline, options: Options = {}): Promise<Uint8Array> => {
  pipe.setProgressBarConfig({ disable: true });
  const { images } = await pipe.generate(ROAD, { numInferenceSteps: 2, generator: seeded(1), negativePrompt: 'red', maxSequenceLength: 20, ...options });
  return images[0].data as Uint8Array;
};
const expectAlike = (data: Uint8Array, expected: Uint8Array) => expectClose({ shape: [data.length], data }, { shape: [data.length], data: expected }, { atol: 1, rtol: 0 });
const allocated = (network: Block) => [...network.parameterSpecs().keys()].filter(path => network.isAllocated(path)).length;

describeOnDevices('StableDiffusion3Pipeline', device => {
  const folder = temporaryFolder();
  let pipe: StableDiffusion3Pipeline;
  let plain: Uint8Array;
  const load = (options: object = {}) => StableDiffusion3Pipeline.fromPretrained(TINY_SD3, { device, compile: false, ...options });
  before(async () => {
    pipe = await load();
    plain = await draw(pipe);
  });
  after(() => pipe.dispose());

  it('is what a folder names, of a family of its own', async () => {
    const found: DiffusionPipeline = await DiffusionPipeline.fromPretrained(TINY_SD3, { device });
    assert.ok(found instanceof StableDiffusion3Pipeline);
    assert.deepEqual([found.defaults.numInferenceSteps, found.defaults.guidanceScale, found.sideFactor], [28, 7, 4]);
    assert.equal(AutoPipelineForImage2Image.fromPipe(found).constructor, StableDiffusion3Img2ImgPipeline);
    assert.equal(AutoPipelineForInpainting.fromPipe(found).constructor, StableDiffusion3InpaintPipeline);
    const { width, height, sideFactor, takesNegativePrompt, takesPerturbedAttention, takesSkippedLayers, tasks, schedulers } = describeModel(found);
    assert.deepEqual({ width, height, sideFactor, takesNegativePrompt, takesPerturbedAttention, takesSkippedLayers, tasks, schedulers: schedulers.map(({ name }) => name) }, {
      width: 16, height: 16, sideFactor: 4, takesNegativePrompt: true, takesPerturbedAttention: false, takesSkippedLayers: true, tasks: ['text', 'image', 'mask'], schedulers: ['FlowMatchEulerDiscreteScheduler'],
    });
    found.dispose();
  });

  it('goes without T5 where that is null, or lies in no folder, and says where its tokenizer is missing', async () => {
    const without = await load({ textEncoder3: null, tokenizer3: null });
    assert.deepEqual([without.textEncoder3, without.tokenizer3], [undefined, undefined]);
    const drawn = await draw(without);
    assert.notDeepEqual(drawn, plain);
    without.dispose();
    const silent = await captureWarnings(async () => (await load({ textEncoder3: null })).dispose());
    assert.deepEqual(silent, []);
    const bare = join(folder(), 'no_tokenizer');
    cpSync(TINY_SD3, bare, { recursive: true });
    rmSync(join(bare, 'tokenizer_3'), { recursive: true });
    const index = join(bare, 'model_index.json');
    writeFileSync(index, JSON.stringify({ ...JSON.parse(readFileSync(index, 'utf8')), tokenizer_3: [null, null] }));
    let half: StableDiffusion3Pipeline;
    const warnings = await captureWarnings(async () => { half = await StableDiffusion3Pipeline.fromPretrained(bare, { device, compile: false }); });
    assert.match(warnings.join(), /no_tokenizer: its T5 is not loaded, for it has no tokenizer, and pictures are made without; to have it, pass tokenizer3: await T5Tokenizer/);
    assert.deepEqual(await draw(half!), drawn);
    half!.dispose();
    const given = await StableDiffusion3Pipeline.fromPretrained(bare, { device, compile: false, tokenizer3: pipe.tokenizer3 });
    assert.deepEqual(await draw(given), plain);
    given.dispose();
    await assert.rejects(load({ textEncoder2: null }), /^TypeError: textEncoder2: got null, takes one: the pipeline cannot be without it$/);
  });

  it('is saved, and loaded from there to the same picture, with T5 and without', async () => {
    const [all, less] = [join(folder(), 'all'), join(folder(), 'less')];
    await pipe.savePretrained(all);
    const again = await StableDiffusion3Pipeline.fromPretrained(all, { device, compile: false });
    assert.deepEqual(await draw(again), plain);
    const without = new StableDiffusion3Pipeline({ ...pipe.components, textEncoder3: undefined, tokenizer3: undefined });
    await without.savePretrained(less);
    const loaded = await StableDiffusion3Pipeline.fromPretrained(less, { device, compile: false });
    assert.deepEqual(await draw(loaded), await draw(without));
    [again, loaded].forEach(each => each.dispose());
  });

  it('offloads, by model and by layer, slices, tiles and compiles, to the same picture', () => expectNoLeak(async () => {
    for (const cpuOffload of ['model', 'sequential'] as const) {
      const away = await load({ cpuOffload });
      expectAlike(await draw(away), plain);
      assert.deepEqual([away.textEncoder, away.textEncoder2, away.textEncoder3!, away.transformer, away.vae].map(allocated), [0, 0, 0, 0, 0]);
      away.dispose();
    }
    pipe.enableAttentionSlicing('max');
    pipe.enableVaeSlicing();
    assert.deepEqual([...pipe.memorySavers], ['enableAttentionSlicing', 'enableVaeSlicing']);
    expectAlike(await draw(pipe), plain);
    pipe.disableAttentionSlicing();
    pipe.disableVaeSlicing();
    if (canCompile()) {
      const compiled = await load({ compile: true });
      const skipped = { skipGuidanceLayers: [1], skipLayerGuidanceStop: 1 };
      for (const options of [{}, {}, { guidanceStop: 0.5 }, skipped]) expectAlike(await draw(compiled, options), await draw(pipe, options));
      compiled.dispose();
    }
    return [];
  }));

  it('takes a LoRA for the transformer and both of CLIP\'s encoders, as diffusers does', () => expectNoLeak(async () => {
    const { tensors } = loadGolden('pipelines/sd3_lora');
    const adapted = await load();
    adapted.setProgressBarConfig({ disable: true });
    await adapted.loadLoraWeights('spec/golden/lora/sd3');
    assert.deepEqual(adapted.getListAdapters(), { transformer: ['default_0'], textEncoder: ['default_0'], textEncoder2: ['default_0'] });
    const latents = async (options: SD3Options<'latent'> = {}) => (
      await adapted.generate('a red star', { numInferenceSteps: 3, generator: seeded(0), maxSequenceLength: 7, outputType: 'latent', ...options })
    ).images;
    const close = { atol: 5e-4, rtol: 5e-4 };
    const made = [await latents(), await latents({ jointAttentionKwargs: { scale: 0.3 } })];
    await adapted.setLoraScale(0.5);
    made.push(await latents());
    ['out', 'weakened', 'half'].forEach((name, i) => expectClose(made[i], tensors[name], close));
    await adapted.unloadLoraWeights();
    assert.deepEqual(await draw(adapted), plain);
    adapted.dispose();
    return made;
  }));

  it('is converted, to halves and to fewer bits, with T5 and without', async () => {
    for (const dtype of ['float16', 'int8', 'int4'] as const) {
      const out = join(folder(), dtype);
      await convertModel(TINY_SD3, out, { dtype, t5: dtype !== 'int4', verify: true });
      const converted = await StableDiffusion3Pipeline.fromPretrained(out, { device, compile: false });
      assert.equal(converted.textEncoder3 === undefined, dtype === 'int4');
      const drawn = await draw(converted);
      if (dtype === 'float16') assert.deepEqual(drawn, plain); // what the folder has
      assert.equal(drawn.length, plain.length);
      converted.dispose();
    }
  });

  it('draws in half precision', async () => {
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const half = await load({ dtype });
      const latents = tf.randomNormal([1, 8, 8, 16], 0, 1, 'float32', 5);
      const [drawn, whole] = [await draw(half, { latents }), await draw(pipe, { latents })];
      const mean = drawn.reduce((sum, value, i) => sum + Math.abs(value - whole[i]), 0) / drawn.length;
      assert.ok(mean < (dtype === 'float16' ? 1 : 6), `${dtype}: ${mean}`);
      latents.dispose();
      half.dispose();
    }
  });

  it('reads prompts with weights, of any length', () => expectNoLeak(async () => {
    const same = encodeWeightedPrompt(pipe, ROAD, { negativePrompt: 'red', maxSequenceLength: 20 });
    const { images: [image] } = await pipe.generate(undefined, { ...same, numInferenceSteps: 2, generator: seeded(1) });
    assert.deepEqual(image.data, plain);
    const empty = encodeWeightedPrompt(pipe, ROAD, { negativePrompt: 'red', prompt2: '', prompt3: '', negativePrompt2: '', negativePrompt3: '', maxSequenceLength: 20 }); // as none
    for (const key of ['promptEmbeds', 'negativePromptEmbeds'] as const) assert.deepEqual(empty[key].arraySync(), same[key].arraySync());
    tf.dispose(Object.values(empty));
    const tokens = 77 + 20;
    assert.deepEqual([same.promptEmbeds.shape, same.pooledPromptEmbeds.shape], [[1, tokens, 24], [1, 20]]);
    const weighted = encodeWeightedPrompt(pipe, 'a (road:1.5) and a tree on it', { maxSequenceLength: 20 });
    const [ofT5, own] = [weighted, same].map(({ promptEmbeds }) => tf.slice(promptEmbeds, [0, 77, 0]));
    assert.deepEqual(ofT5.arraySync(), own.arraySync()); // it reads no weights
    for (const maxSequenceLength of [0, 513, 1e9]) {
      assert.throws(() => encodeWeightedPrompt(pipe, ROAD, { maxSequenceLength }), new RegExp(`^RangeError: maxSequenceLength: got ${maxSequenceLength}, takes a whole number, from 1 to 512$`));
    }
    for (const [options, message] of [
      [{ clipSkip: 3 }, /^RangeError: clipSkip: got 3, takes a whole number, from 0 to 2$/], [{ prompt3: 5 }, /^TypeError: prompt3: got 5, takes a text or a list of texts$/],
    ] as const) assert.throws(() => encodeWeightedPrompt(pipe, ROAD, options as object), message);
    const long = encodeWeightedPrompt(pipe, [`${'red '.repeat(90)}BREAK star`, 'a'], { maxSequenceLength: 200 });
    assert.deepEqual(long.promptEmbeds.shape, [2, 3 * 77 + 200, 24]);
    return [ofT5, own, ...[same, weighted, long].flatMap(each => Object.values(each) as tf.Tensor[])];
  }));

  it('takes the noise of steps from the generator, and the scale of LoRAs for its text encoders also where it paints', async () => {
    const scheduler = FlowMatchEulerDiscreteScheduler.fromConfig({ ...pipe.scheduler.config, stochastic_sampling: true });
    const noisy = new StableDiffusion3Pipeline({ ...pipe.components, scheduler });
    const [first, again, other] = [await draw(noisy), await draw(noisy), await draw(noisy, { generator: seeded(2) })];
    assert.deepEqual(again, first);
    assert.notDeepEqual(other, first);
    const [image, maskImage] = [new Image(plain, 16, 16), new Image(new Uint8Array(16 * 16 * 3).fill(255), 16, 16)];
    const inpaint = new StableDiffusion3InpaintPipeline(pipe.components);
    const paint = async (kwargs?: { scale: number }) => await draw(inpaint, { image, maskImage, strength: 1, jointAttentionKwargs: kwargs } as Options);
    const file = join(folder(), 'text_lora.safetensors');
    const module = 'text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer';
    const tensors = Object.entries({ down: [2, 8], up: [8, 2] }).map(([name, shape]) => (
      { name: `${module}.${name}.weight`, dtype: 'F32' as const, shape, bytes: () => new Uint8Array(Float32Array.from({ length: 16 }, (_, i) => 1 - i / 5).buffer) }
    ));
    const pieces: Uint8Array[] = [];
    for await (const piece of writeSafetensors(tensors, {})) pieces.push(piece);
    writeFileSync(file, Buffer.concat(pieces));
    await inpaint.loadLoraWeights(file, { adapterScale: 0.5 });
    const half = await paint();
    await inpaint.setLoraScale(1);
    expectAlike(await paint({ scale: 0.5 }), half);
    assert.notDeepEqual(await paint(), half);
    await inpaint.unloadLoraWeights();
  });

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const embeds = tf.zeros([1, 97, 24]);
    const wrong: Array<[object, RegExp]> = [
      [{ height: 18 }, /^RangeError: height: got 18, takes a number of pixels divisible by 4$/],
      [{ width: 52 }, /^RangeError: width: got 52, takes up to 48 pixels with this model$/],
      [{ maxSequenceLength: 513 }, /^RangeError: maxSequenceLength: got 513, takes a whole number, from 1 to 512$/],
      [{ prompt3: ['a', 'b'] }, /^RangeError: prompt3: got a list of 2, takes a text, or a list of 1/],
      [{ skipGuidanceLayers: [3] }, /^RangeError: skipGuidanceLayers: got 3, takes a whole number, from 0 to 2$/],
      [{ skipGuidanceLayers: 7 }, /^TypeError: skipGuidanceLayers: got 7, takes a list of layers, as in \[7, 8, 9\]$/],
      [{ clipSkip: 3 }, /^RangeError: clipSkip: got 3, takes a whole number, from 0 to 2$/],
      [{ negativePromptEmbeds: embeds, maxSequenceLength: 20, negativePrompt: undefined }, /^TypeError: negativePooledPromptEmbeds: got undefined/],
      [{ jointAttentionKwargs: { gain: 1 } }, /^TypeError: jointAttentionKwargs: got the key 'gain', takes \{ scale \}$/],
      [{ crossAttentionKwargs: { scale: 1 } }, /^TypeError: generate: there is no option 'crossAttentionKwargs'/],
      [{ pagScale: 3 }, /^TypeError: generate: there is no option 'pagScale'/],
    ];
    for (const [options, message] of wrong) await assert.rejects(draw(pipe, options), error => message.test(String(error)) || assert.fail(`${String(error)}: ${message}`));
    const unmade = new StableDiffusion3Pipeline({ ...pipe.components, scheduler: FlowMatchEulerDiscreteScheduler as never });
    await assert.rejects(draw(unmade), /^TypeError: scheduler: got the class FlowMatchEulerDiscreteScheduler, takes one of it: FlowMatchEulerDiscreteScheduler\.fromConfig/);
    const image = (await pipe.generate(ROAD, { numInferenceSteps: 1 })).images[0];
    const img2img = StableDiffusion3Img2ImgPipeline.fromPipe(pipe);
    await assert.rejects(img2img.generate(ROAD, { image, strength: 0 }), /^RangeError: strength: got 0, which leaves none of 50 steps, takes a number above 0$/);
    await assert.rejects(img2img.generate(ROAD, { image, strength: 1.5 }), /^RangeError: strength: got 1\.5, takes a number from 0 to 1$/);
    return embeds;
  }));

  it('says that the tokenizer is another T5\'s', async () => {
    const other = await T5Tokenizer.fromPretrained(TINY_SD3, { subfolder: 'tokenizer_3' });
    other.encode = () => [[56, 9999]];
    const mixed = new StableDiffusion3Pipeline({ ...pipe.components, tokenizer3: other });
    await assert.rejects(draw(mixed), /^RangeError: tokenizer: gives the id 9999, the text encoder knows \d+ tokens: the two are of different models$/);
  });

  it('is stopped by a callback, and tells it each step', () => expectNoLeak(async () => {
    const seen: number[] = [];
    await pipe.generate(ROAD, { numInferenceSteps: 4, maxSequenceLength: 5, callbackOnStepEnd: (self, step, timestep, { latents }) => {
      seen.push(timestep);
      assert.deepEqual(latents.shape, [1, 8, 8, 16]);
      if (step === 1) self.interrupt = true;
    } });
    assert.equal(seen.length, 2);
    assert.equal(seen[0], 1000);
    return [];
  }));
});
