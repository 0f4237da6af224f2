import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Block } from '../../lib/core/block.js';
import { canCompile } from '../../lib/core/graph.js';
import { randn } from '../../lib/core/random.js';
import type { Image } from '../../lib/image/image.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import {
  DiffusionPipeline, LatentConsistencyModelPipeline, StableDiffusionPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline,
  StableDiffusionXLPipeline,
} from '../../lib/pipelines/index.js';
import { AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image } from '../../lib/pipelines/auto_pipeline.js';
import type { GuidedPipeline } from '../../lib/pipelines/base/guided_pipeline.js';
import { encodeWeightedPrompt } from '../../lib/pipelines/weighted_prompt.js';
import type { XLImageOptions, XLOptions } from '../../lib/pipelines/stable_diffusion_xl/xl_options.js';
import { writeSafetensors } from '../../lib/weights/safetensors.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { disposedZeros } from '../support/disposed_zeros.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { refinerFolder, seeded, TINY, TINY_XL, TINY_XL_UNETS } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

const close = { atol: 5e-4, rtol: 5e-4 };
const [STAR, ROAD] = ['a red star', 'a road and a tree on it'];
const LORA = 'spec/golden/lora/xl_kohya.safetensors';

const draw = async (pipe: StableDiffusionXLPipeline, options: XLOptions<'image'> = {}): Promise<Uint8Array> => {
  const { images } = await pipe.generate(ROAD, { numInferenceSteps: 2, generator: seeded(1), negativePrompt: 'red', ...options });
  return images[0].data as Uint8Array;
};
const expectAlike = (data: Uint8Array, expected: Uint8Array) => expectClose({ shape: [data.length], data }, { shape: [data.length], data: expected }, { atol: 1, rtol: 0 });
const allocated = (network: Block) => [...network.parameterSpecs().keys()].filter(path => network.isAllocated(path)).length;

describeOnDevices('StableDiffusionXLPipeline', device => {
  const folder = temporaryFolder();
  const golden = loadGolden('pipelines/sdxl_adapters');
  let pipe: StableDiffusionXLPipeline;
  let plain: Uint8Array;
  let latents: tf.Tensor; // else noise is drawn in the type of the weights
  const load = (options: object = {}) => StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device, compile: false, ...options });
  before(async () => {
    pipe = await load();
    plain = await draw(pipe);
    latents = randn([1, 8, 8, 4], seeded(3));
  });
  after(() => {
    latents.dispose();
    pipe.dispose();
  });

  it('is what a folder names, and a refiner is a folder without the first text encoder', async () => {
    const found: DiffusionPipeline = await DiffusionPipeline.fromPretrained(TINY_XL, { device });
    assert.ok(found instanceof StableDiffusionXLPipeline);
    assert.deepEqual([found.forceZerosForEmptyPrompt, found.requiresAestheticsScore, found.defaults.guidanceScale], [true, false, 5]);
    found.dispose();
    const refiner = await StableDiffusionXLImg2ImgPipeline.fromPretrained(refinerFolder(join(folder(), 'refiner')), { device });
    assert.deepEqual([refiner.forceZerosForEmptyPrompt, refiner.requiresAestheticsScore, refiner.textEncoder, refiner.tokenizer], [false, true, undefined, undefined]);
    refiner.dispose();
    const told = await StableDiffusionXLImg2ImgPipeline.fromPretrained(join(folder(), 'refiner'), { device, requiresAestheticsScore: false });
    assert.equal(told.requiresAestheticsScore, false);
    told.dispose();
    await assert.rejects(StableDiffusionXLImg2ImgPipeline.fromPretrained(refinerFolder(join(folder(), 'odd'), { requires_aesthetics_score: 'yes' }), { device }),
      /^ModelFileError: .*odd\/model_index\.json: requires_aesthetics_score: got 'yes', takes true or false$/);
  });

  it('hands latents to a refiner, as diffusers does', () => expectNoLeak(async () => {
    const refiner = await StableDiffusionXLImg2ImgPipeline.fromPretrained(refinerFolder(join(folder(), 'refiner')), { device });
    const shared = { numInferenceSteps: 8, negativePrompt: 'red', outputType: 'latent' } as const;
    const { images: image } = await pipe.generate(ROAD, { ...shared, denoisingEnd: 0.6, generator: seeded(4) });
    const { images } = await refiner.generate(ROAD, { ...shared, image, denoisingStart: 0.6, generator: seeded(5) });
    expectClose(images, golden.tensors['refined/out'], close);
    refiner.dispose();
    return [image, images];
  }));

  it('takes LoRAs for both text encoders', () => expectNoLeak(async () => {
    const adapted = await load();
    await adapted.loadLoraWeights(LORA);
    assert.deepEqual(adapted.getListAdapters(), { unet: ['default_0'], textEncoder: ['default_0'], textEncoder2: ['default_0'] });
    const latents = async () => (await adapted.generate(STAR, { numInferenceSteps: 3, generator: seeded(0), outputType: 'latent' })).images;
    const [full] = [await latents()];
    expectClose(full, golden.tensors['lora/out'], close);
    await adapted.setLoraScale(0.5);
    const half = await latents();
    expectClose(half, golden.tensors['lora/half'], close);
    await adapted.setLoraScale({ unet: 0, textEncoder: 0, textEncoder2: 0 });
    expectAlike(await draw(adapted), plain);
    await adapted.unloadLoraWeights();
    assert.deepEqual(await draw(adapted), plain);
    adapted.dispose();
    return [full, half];
  }));

  it('says of a LoRA that it is for another family', async () => {
    const other = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    await assert.rejects(other.loadLoraWeights(LORA), /^WeightsError: .*xl_kohya\.safetensors: is no LoRA for this model: it is for a UNet that attends to 24 features of a text, this one's attends to 16; /);
    await assert.rejects(pipe.loadLoraWeights('spec/golden/lora/kohya.safetensors'), /kohya\.safetensors: is no LoRA for this model: it is for a UNet that attends to 16 features of a text, this one's attends to 24; /);
    other.dispose();
    assert.deepEqual(await draw(pipe), plain);
  });

  it('leaves out what a LoRA has for a text encoder that a refiner does not have, with a warning', async () => {
    const unet = await UNet2DConditionModel.fromPretrained(TINY_XL_UNETS.refiner);
    const refiner = new StableDiffusionXLImg2ImgPipeline({ ...pipe.components, textEncoder: undefined, tokenizer: undefined, unet, requiresAestheticsScore: true });
    const warnings = await captureWarnings(() => assert.rejects(refiner.loadLoraWeights(LORA), /it is for a UNet that attends to 24 features of a text, this one's attends to 8/));
    assert.deepEqual(warnings, []);
    unet.dispose();
  });

  it('learns words with both text encoders', () => expectNoLeak(async () => {
    const learned = await load();
    const file = 'spec/golden/textual_inversion/xl.safetensors';
    await assert.rejects(learned.loadTextualInversion(file), /TypeError: .*xl\.safetensors: does not say what to call it; say it by token/);
    await learned.loadTextualInversion(file, { token: '<cat>' });
    const { images } = await learned.generate('a <cat> on a road', { numInferenceSteps: 3, generator: seeded(0), negativePrompt: '<cat>', outputType: 'latent' });
    expectClose(images, golden.tensors['word/out'], close);
    await assert.rejects(learned.loadTextualInversion(file, { token: '<cat>' }), /RangeError: token: got '<cat>' .* knows '<cat>' already/);
    await learned.loadTextualInversion('spec/golden/textual_inversion/learned_embeds.safetensors'); // for the first one alone, as its size says
    assert.deepEqual([learned.textEncoder!.tokens, learned.textEncoder2.tokens], [527, 526]);
    await assert.rejects(new StableDiffusionXLImg2ImgPipeline({ ...learned.components, textEncoder: undefined, tokenizer: undefined })
      .loadTextualInversion(file, { token: '<dog>' }), /is no textual inversion for this model: holds clip_g \[2, 8\], clip_l \[2, 16\], takes one tensor \[tokens, 8\]/);
    learned.dispose();
    return images;
  }));

  it('learns the words that a LoRA brings along for both', async () => {
    const learned = await load();
    const entry = (name: string, shape: number[]) => ({ name, dtype: 'F32' as const, shape, bytes: () => new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)) });
    const chunks: Uint8Array[] = [];
    for await (const chunk of writeSafetensors([
      entry('lora_unet_conv_in.lora_down.weight', [1, 4, 3, 3]), entry('lora_unet_conv_in.lora_up.weight', [4, 1, 1, 1]),
      entry('bundle_emb.<toy>.clip_l', [2, 16]), entry('bundle_emb.<toy>.clip_g', [2, 8]), entry('bundle_emb.old.string_to_param.*', [1, 768]),
    ], {})) chunks.push(chunk);
    const weightName = 'lora.safetensors';
    const warnings = await captureWarnings(() => learned.loadLoraWeights(new MemoryFolder({ [weightName]: Buffer.concat(chunks) }), { weightName }));
    assert.deepEqual(warnings, ['memory/lora.safetensors: its bundled word old is left out: it has the shape [1, 768]']);
    assert.deepEqual([learned.textEncoder!.tokens, learned.textEncoder2.tokens], [526, 526]);
    learned.dispose();
  });

  it('reads prompts with weights, of any length, with both text encoders', () => expectNoLeak(async () => {
    const made: tf.Tensor[] = [];
    for (const [name, pieces] of Object.entries(golden.meta.prompts as Record<string, Array<[string, number]>>)) {
      const prompt = pieces.map(([text, weight]) => weight === 1 ? text : `(${text}:${weight})`).join('');
      const embeds = encodeWeightedPrompt(pipe, prompt);
      expectClose(embeds.promptEmbeds, golden.tensors[`weighted/${name}`], close);
      expectClose(embeds.pooledPromptEmbeds, golden.tensors[`weighted/${name}/pooled`], close);
      made.push(...Object.values(embeds) as tf.Tensor[]);
    }
    const plainly = encodeWeightedPrompt(pipe, ROAD, { negativePrompt: 'red' });
    const { images: [image] } = await pipe.generate(undefined, { ...plainly, numInferenceSteps: 2, generator: seeded(1) });
    assert.deepEqual(image.data, plain);
    const both = { prompt2: STAR, numInferenceSteps: 2, generator: seeded(2) };
    const empty = encodeWeightedPrompt(pipe, ROAD, { negativePrompt: 'red', prompt2: '', negativePrompt2: '' }); // as none
    assert.deepEqual(Object.values(empty).map(each => each!.arraySync()), Object.values(plainly).map(each => each!.arraySync()));
    const zeros = encodeWeightedPrompt(pipe, ROAD, { prompt2: STAR });
    const { images: [second] } = await pipe.generate(undefined, { ...zeros, numInferenceSteps: 2, generator: seeded(2) });
    assert.deepEqual(second.data, (await pipe.generate(ROAD, both)).images[0].data);
    assert.throws(() => encodeWeightedPrompt(pipe, ROAD, { prompt2: ['a', 'b'] }), /RangeError: prompt2: got a list of 2, takes a text, or a list of 1/);
    return [...made, ...Object.values(plainly), ...Object.values(empty), ...Object.values(zeros)] as tf.Tensor[];
  }));

  it('offloads, by model and by layer, to the same picture', () => expectNoLeak(async () => {
    for (const cpuOffload of ['model', 'sequential'] as const) {
      const away = await load({ cpuOffload });
      expectAlike(await draw(away), plain);
      assert.deepEqual([away.textEncoder!, away.textEncoder2, away.unet, away.vae].map(allocated), [0, 0, 0, 0]);
      away.dispose();
    }
    return [];
  }));

  it('compiles, to the same picture', () => expectNoLeak(async () => {
    if (!canCompile()) return [];
    const compiled = await load({ compile: true });
    expectAlike(await draw(compiled), plain);
    expectAlike(await draw(compiled), plain);
    expectAlike(await draw(compiled, { guidanceStop: 0.5 }), await draw(pipe, { guidanceStop: 0.5 }));
    compiled.dispose();
    return [];
  }));

  it('slices and tiles, merges tokens, and skips what is deep', () => expectNoLeak(async () => {
    pipe.enableAttentionSlicing('max');
    pipe.enableVaeSlicing();
    expectAlike(await draw(pipe), plain);
    pipe.disableAttentionSlicing();
    pipe.disableVaeSlicing();
    pipe.enableVaeTiling();
    assert.equal((await draw(pipe, { height: 24, width: 24 })).length, 24 * 24 * 3);
    pipe.disableVaeTiling();
    pipe.enableDeepCache({ cacheInterval: 1 });
    expectAlike(await draw(pipe), plain);
    pipe.disableDeepCache();
    pipe.enableTokenMerging({ maxDownsample: 2 });
    assert.equal((await draw(pipe)).length, plain.length);
    pipe.disableTokenMerging();
    assert.deepEqual(await draw(pipe), plain);
    return [];
  }));

  it('is profiled, network by network', async () => {
    const { result, profile } = await pipe.profile(() => draw(pipe));
    assert.deepEqual(result, plain);
    const calls = Object.fromEntries(profile.networks.map(({ name, calls }) => [name, calls]));
    assert.deepEqual([calls.textEncoder, calls.textEncoder2, calls.unet], [2, 2, 2]);
  });

  it('guides only so long, looks for NaN, and lets callbacks see', () => expectNoLeak(async () => {
    let steps = 0;
    const { images } = await pipe.generate(ROAD, {
      numInferenceSteps: 4, guidanceStop: 0.5, generator: seeded(1), detectAnomaly: true, outputType: 'tensor',
      callbackOnStepEnd: (self, _, __, { latents }) => {
        steps++;
        assert.equal(self, pipe);
        return { latents: latents.clone() };
      },
    });
    assert.equal(steps, 4);
    return images;
  }));

  it('makes the same in half precision, but for rounding', () => expectNoLeak(async () => {
    for (const [dtype, most] of [['float16', 3], ['bfloat16', 24]] as const) {
      const narrow = await load({ dtype });
      const data = await draw(narrow, { latents });
      expectClose({ shape: [data.length], data }, { shape: [data.length], data: await draw(pipe, { latents }) }, { atol: most, rtol: 0 });
      narrow.dispose();
    }
    return [];
  }));

  it('has its VAE in float32 where it is in float16, unless its config says that it need not be', async () => {
    const dtypes = async (source: string, dtype: 'float16' | 'bfloat16') => {
      const { unet, vae, textEncoder2, ...pipe } = await StableDiffusionXLPipeline.fromPretrained(source, { device, dtype });
      [unet, vae, textEncoder2, pipe.textEncoder!].forEach(network => network.dispose());
      return [unet.weightDtype, textEncoder2.weightDtype, vae.weightDtype];
    };
    assert.deepEqual(await dtypes(TINY_XL, 'float16'), ['float16', 'float16', 'float32']);
    assert.deepEqual(await dtypes(TINY_XL, 'bfloat16'), ['bfloat16', 'bfloat16', 'bfloat16']);
    const fixed = join(folder(), 'fixed');
    cpSync(TINY_XL, fixed, { recursive: true });
    const config = JSON.parse(readFileSync(join(fixed, 'vae/config.json'), 'utf8'));
    writeFileSync(join(fixed, 'vae/config.json'), JSON.stringify({ ...config, force_upcast: false }));
    assert.deepEqual(await dtypes(fixed, 'float16'), ['float16', 'float16', 'float16']);
  });

  describe('refuses before any work', () => {
    const zeros = disposedZeros();
    const embeds = () => ({ promptEmbeds: zeros(1, 77, 24), pooledPromptEmbeds: zeros(1, 12) });
    const cases: Array<[string, string | undefined, () => XLOptions & XLImageOptions, RegExp]> = [
      ['nothing', undefined, () => ({}), /^TypeError: prompt: got neither prompt nor promptEmbeds, takes one of the two$/],
      ['a second prompt beside embeds', undefined, () => ({ ...embeds(), prompt2: 'a' }), /^TypeError: prompt2: got both prompt2 and promptEmbeds, takes one of the two$/],
      ['a second thing to avoid beside embeds', 'a', () => ({ negativePrompt2: 'a', negativePromptEmbeds: zeros(1, 77, 24), negativePooledPromptEmbeds: zeros(1, 12) }),
        /^TypeError: negativePrompt2: got both negativePrompt2 and negativePromptEmbeds/],
      ['embeds without the whole', undefined, () => ({ promptEmbeds: zeros(1, 77, 24) }), /^TypeError: pooledPromptEmbeds: got undefined, takes each text as a whole, \[prompts, features\], where there are promptEmbeds$/],
      ['embeds to avoid without the whole', undefined, () => ({ ...embeds(), negativePromptEmbeds: zeros(1, 77, 24) }), /^TypeError: negativePooledPromptEmbeds: got undefined, takes each text/],
      ["one encoder's embeds", undefined, () => ({ ...embeds(), promptEmbeds: zeros(1, 77, 16) }),
        /^RangeError: promptEmbeds: got 16 features, those of textEncoder alone, takes 16 \+ 8: of textEncoder and textEncoder2, one behind the other$/],
      ["the other encoder's embeds", undefined, () => ({ ...embeds(), negativePromptEmbeds: zeros(1, 77, 8) }), /^RangeError: negativePromptEmbeds: got 8 features, those of textEncoder2 alone/],
      ['a whole of another size', undefined, () => ({ ...embeds(), pooledPromptEmbeds: zeros(1, 16) }), /^RangeError: pooledPromptEmbeds: got shape \[1, 16\], takes \[1, 12\]$/],
      ['too few second prompts', 'a', () => ({ prompt2: ['a', 'b'] }), /^RangeError: prompt2: got a list of 2, takes a text, or a list of 1/],
      ['an odd height', 'a', () => ({ height: 17 }), /^RangeError: height: got 17, takes a number of pixels divisible by 2$/],
      ['sizes of one number', 'a', () => ({ originalSize: 1024 as never }), /^TypeError: originalSize: got 1024, takes two numbers, \[height, width\]$/],
      ['half pixels', 'a', () => ({ cropsCoordsTopLeft: [0.5, 0] }), /^RangeError: cropsCoordsTopLeft: got 0\.5, takes a whole number, 0 or more$/],
      ['more skipping than layers', 'a', () => ({ clipSkip: 3 }), /^RangeError: clipSkip: got 3, takes a whole number, from 0 to 2$/],
      ['no end', 'a', () => ({ denoisingEnd: 0 }), /^RangeError: denoisingEnd: got 0, takes a number above 0 and up to 1$/],
      ['an option of others', 'a', () => ({ denoisingStart: 0.5 }), /^TypeError: generate: there is no option 'denoisingStart'/],
    ];
    for (const [name, prompt, options, expected] of cases) {
      it(name, () => assert.rejects(pipe.generate(prompt, options()), expected));
    }

    it('an end before the beginning, or a beginning that leaves nothing', () => expectNoLeak(async () => {
      const image = tf.zeros([1, 8, 8, 4]);
      const img2img = new StableDiffusionXLImg2ImgPipeline(pipe.components);
      const rejects = (options: XLImageOptions & XLOptions, message: RegExp) => assert.rejects(img2img.generate('a', { image, numInferenceSteps: 4, ...options }), message);
      await rejects({ denoisingStart: 0.8, denoisingEnd: 0.5 }, /^RangeError: denoisingStart: got 0\.8, takes less than denoisingEnd, which is 0\.5$/);
      await rejects({ denoisingStart: 1 }, /^RangeError: denoisingStart: got 1, takes a number between 0 and 1$/);
      await rejects({ denoisingStart: 0.9999 }, /^RangeError: denoisingStart: got 0\.9999, which leaves none of 4 steps, takes less$/);
      return image;
    }));

    it("models of other families, and a refiner's where a base model's is needed", () => expectNoLeak(async () => {
      const other = await StableDiffusionPipeline.fromPretrained(TINY, { device });
      const unet = await UNet2DConditionModel.fromPretrained(TINY_XL_UNETS.refiner);
      await assert.rejects(new StableDiffusionPipeline({ ...other.components, unet: pipe.unet }).generate('a'),
        /^RangeError: unet: addition_embed_type: got 'text_time', takes null: StableDiffusionXLPipeline runs SDXL's$/);
      await assert.rejects(new StableDiffusionXLPipeline({ ...pipe.components, unet: other.unet }).generate('a'),
        /^RangeError: unet: addition_embed_type: got null, takes 'text_time': StableDiffusionPipeline runs others$/);
      const parts = { ...pipe.components, unet, textEncoder: undefined, tokenizer: undefined };
      await assert.rejects(new StableDiffusionXLPipeline(parts).generate('a'),
        /^RangeError: unet: takes 5 numbers besides the text, is told 6: it is a refiner's, which StableDiffusionXLImg2ImgPipeline runs; StableDiffusionXLPipeline takes a base model's$/);
      const image = tf.zeros([1, 8, 8, 4]);
      await assert.rejects(new StableDiffusionXLImg2ImgPipeline(parts).generate('a', { image }), /is told 6: a refiner takes requiresAestheticsScore: true$/);
      await assert.rejects(new StableDiffusionXLImg2ImgPipeline({ ...pipe.components, requiresAestheticsScore: true }).generate('a', { image }),
        /takes 6 numbers besides the text, is told 5: a base model takes requiresAestheticsScore: false$/);
      await assert.rejects(new StableDiffusionXLPipeline({ ...pipe.components, textEncoder: undefined }).generate('a'),
        /^RangeError: textEncoder2: gives 8 features, the unet takes 24$/);
      const nine = await UNet2DConditionModel.fromPretrained(TINY_XL_UNETS.nine);
      await assert.rejects(new StableDiffusionXLPipeline({ ...pipe.components, unet: nine }).generate('a'), /in_channels: got 9, takes 4; one of 9 channels is for StableDiffusionXLInpaintPipeline$/);
      other.dispose();
      [unet, nine].forEach(network => network.dispose());
      return image;
    }));
  });
});

describeOnDevices('AutoPipeline', device => {
  it('finds the class for a task by the family, of a folder and of a pipeline', async () => {
    const found = await AutoPipelineForText2Image.fromPretrained(TINY, { device });
    assert.equal(found.constructor, StableDiffusionPipeline);
    const img2img = AutoPipelineForImage2Image.fromPipe(found);
    assert.equal(img2img.constructor.name, 'StableDiffusionImg2ImgPipeline');
    assert.equal(img2img.denoiser, found.denoiser);
    assert.equal(AutoPipelineForInpainting.fromPipe(img2img).constructor.name, 'StableDiffusionInpaintPipeline');
    assert.equal(AutoPipelineForText2Image.fromPipe(img2img).constructor, StableDiffusionPipeline);
    class Own extends StableDiffusionPipeline {}
    assert.equal(AutoPipelineForImage2Image.fromPipe(new Own(found.components as never)).constructor.name, 'StableDiffusionImg2ImgPipeline');
    const distilled = new LatentConsistencyModelPipeline(found.components as never);
    assert.equal(AutoPipelineForImage2Image.fromPipe(distilled).constructor.name, 'LatentConsistencyModelImg2ImgPipeline');
    assert.throws(() => AutoPipelineForInpainting.fromPipe(distilled),
      /^RangeError: AutoPipelineForInpainting: got 'LatentConsistencyModelPipeline', takes one of the families of StableDiffusion3Pipeline, StableDiffusionXLPipeline, StableDiffusionPipeline$/);
    assert.deepEqual([img2img, distilled].map(pipe => AutoPipelineForInpainting.supports(pipe)), [true, false]);
    assert.ok(AutoPipelineForImage2Image.supports(distilled));
    found.dispose();

    const inpaint = await AutoPipelineForInpainting.fromPretrained<StableDiffusionXLInpaintPipeline>(TINY_XL, { device, forceZerosForEmptyPrompt: false });
    assert.equal(inpaint.constructor, StableDiffusionXLInpaintPipeline);
    assert.equal(inpaint.forceZerosForEmptyPrompt, false);
    const text = AutoPipelineForText2Image.fromPipe<StableDiffusionXLPipeline>(inpaint, { forceZerosForEmptyPrompt: true });
    assert.equal(text.constructor, StableDiffusionXLPipeline);
    assert.equal(text.forceZerosForEmptyPrompt, true);
    const { images } = await AutoPipelineForText2Image.fromPipe(inpaint).generate(STAR, { numInferenceSteps: 2 });
    assert.equal((images as Image[])[0].width, 16);
    inpaint.dispose();
  });

  it('makes pictures of weighted prompts and tells of its steps, whatever the family', async () => {
    for (const [model, features] of [[TINY, 16], [TINY_XL, 24]] as const) {
      const text = await AutoPipelineForText2Image.fromPretrained(model, { device });
      const leads = encodeWeightedPrompt(text, 'a (red:1.3) star');
      assert.equal(leads.promptEmbeds.shape[2], features);
      const steps: Array<[step: number, of: number]> = [];
      const options = {
        ...leads, numInferenceSteps: 4, callbackOnStepEnd: (self: GuidedPipeline, step: number) => { steps.push([step + 1, self.numTimesteps]); },
      };
      const { images: [image] } = await text.generate(undefined, options);
      assert.deepEqual(steps.at(-1), [text.scheduler.timesteps.length, text.scheduler.timesteps.length]);
      await AutoPipelineForImage2Image.fromPipe(text).generate(undefined, { ...options, image, strength: 0.5 });
      assert.equal(steps.at(-1)![0], steps.at(-1)![1]);
      assert.ok(steps.at(-1)![1] < text.scheduler.timesteps.length);
      tf.dispose({ ...leads });
      text.dispose();
    }
  });

  it('says what is no pipeline', async () => {
    await assert.rejects(AutoPipelineForText2Image.fromPretrained(`${TINY}/unet`, { device }), /has no model_index\.json, takes a whole pipeline/);
    class Nothing extends DiffusionPipeline { readonly components = {}; }
    assert.equal(AutoPipelineForText2Image.supports(new Nothing()), false);
    assert.throws(() => AutoPipelineForText2Image.fromPipe(new Nothing()), /RangeError: AutoPipelineForText2Image: got 'Nothing', takes one of the families of LatentConsistencyModelPipeline, /);
  });
});
