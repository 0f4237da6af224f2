import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { parseGenerationParameters } from '../../lib/image/generation_parameters.js';
import { Image } from '../../lib/image/image.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import type { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { commonOptions, goldenImages, goldenPixels, seeded, TINY, TINY_INPAINT_UNET, type PipelineCase } from '../support/tiny_pipeline.js';
import { goldenTensor } from '../support/weights.js';

const close = { atol: 5e-4, rtol: 5e-4 };

describeOnDevices('StableDiffusionImg2ImgPipeline equals diffusers', device => {
  const golden = loadGolden('pipelines/img2img');
  let pipe: StableDiffusionImg2ImgPipeline;
  let ownScheduler: StableDiffusionPipeline['scheduler'];
  before(async () => {
    pipe = await StableDiffusionImg2ImgPipeline.fromPretrained(TINY, { device });
    ownScheduler = pipe.scheduler;
  });
  after(() => pipe.dispose());

  for (const [name, [prompt, options]] of Object.entries(golden.meta.cases as Record<string, [string | string[], PipelineCase]>)) {
    it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const [scheduler, overrides] = options.scheduler ?? ['PNDMScheduler', {}];
      pipe.scheduler = schedulerClass(scheduler).fromConfig(ownScheduler.config, overrides);
      const given = golden.tensors[`${name}/image`];
      const image = options.as_tensor === 'latents' ? goldenTensor(golden, `${name}/image`)
        : options.as_tensor === 'pixels' ? goldenPixels(given) : goldenImages(given);
      const { images } = await pipe.generate(prompt, { ...commonOptions(options), image, strength: options.strength });
      expectClose(images, golden.tensors[`${name}/out`], close);
      return [images, image instanceof tf.Tensor ? image : []];
    }));
  }
});

describeOnDevices('StableDiffusionInpaintPipeline equals diffusers', device => {
  const golden = loadGolden('pipelines/inpaint');
  let pipe: StableDiffusionInpaintPipeline;
  let unets: Record<string, UNet2DConditionModel>;
  let ownScheduler: StableDiffusionPipeline['scheduler'];
  before(async () => {
    pipe = await StableDiffusionInpaintPipeline.fromPretrained(TINY, { device });
    unets = { four: pipe.unet, nine: await UNet2DConditionModel.fromPretrained(TINY_INPAINT_UNET) };
    ownScheduler = pipe.scheduler;
  });
  after(() => {
    pipe.dispose();
    Object.values(unets).forEach(unet => unet.dispose());
  });

  for (const [name, [prompt, options]] of Object.entries(golden.meta.cases as Record<string, [string | string[], PipelineCase]>)) {
    it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const [scheduler, overrides] = options.scheduler ?? ['PNDMScheduler', {}];
      pipe.scheduler = schedulerClass(scheduler).fromConfig(ownScheduler.config, overrides);
      pipe.unet = unets[options.unet ?? 'four'];
      const given = golden.tensors[`${name}/image`];
      const image = options.as_tensor === 'pixels' ? goldenPixels(given) : goldenImages(given);
      const latents = `${name}/latents` in golden.tensors ? goldenTensor(golden, `${name}/latents`) : undefined;
      const [maskImage] = goldenImages(golden.tensors[`${name}/mask`]);
      const { height, width, strength } = options;
      const { images } = await pipe.generate(prompt, { ...commonOptions(options), image, maskImage, strength, height, width, latents });
      expectClose(images, golden.tensors[`${name}/out`], close);
      return [images, latents ?? [], image instanceof tf.Tensor ? image : []];
    }));
  }
});

describeOnDevices('Pipelines that begin from a picture', device => {
  const red = new Image(new Uint8Array(16 * 16 * 3).map((_, i) => i % 3 ? 0 : 255), 16, 16);
  const white = new Image(new Uint8Array(16 * 16 * 3).fill(255), 16, 16);
  let text: StableDiffusionPipeline;
  let img2img: StableDiffusionImg2ImgPipeline;
  let inpaint: StableDiffusionInpaintPipeline;
  before(async () => {
    text = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    img2img = new StableDiffusionImg2ImgPipeline(text.components);
    inpaint = new StableDiffusionInpaintPipeline(text.components);
  });
  after(() => text.dispose());

  it('come from each other\'s components', async () => {
    assert.deepEqual(img2img.components, text.components);
    const { images } = await new StableDiffusionPipeline(inpaint.components).generate('a star', { numInferenceSteps: 1 });
    assert.equal(images[0].width, 16);
  });

  it('are what a folder names', async () => {
    const { LocalFolder } = await import('../../lib/files/local_folder.js');
    for (const Pipeline of [StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline]) {
      const folder = await LocalFolder.open(TINY);
      const readJson = folder.readJson.bind(folder);
      Object.assign(folder, { readJson: async (path: string) => ({ ...await readJson(path) as object, ...(path === 'model_index.json' && { _class_name: Pipeline.name }) }) });
      const pipe = await DiffusionPipeline.fromPretrained(folder, { device, ...text.components });
      assert.equal(pipe.constructor, Pipeline);
      const other = await StableDiffusionPipeline.fromPretrained(folder, { device, ...text.components });
      assert.equal(other.constructor, StableDiffusionPipeline);
    }
  });

  it('make images, call back with the step of those that are taken, and end for a signal', () => expectNoLeak(async () => {
    const seen: number[] = [];
    const { images } = await img2img.generate('a star', {
      image: red, strength: 0.5, numInferenceSteps: 4, generator: seeded(0), callbackOnStepEnd: (_, step) => { seen.push(step); },
    });
    assert.deepEqual([images[0].width, images[0].height], [16, 16]);
    assert.deepEqual(seen, [0, 1, 2]); // PNDM begins with a step more
    const controller = new AbortController();
    await assert.rejects(inpaint.generate('a star', {
      image: red, maskImage: white, numInferenceSteps: 4, signal: controller.signal, callbackOnStepEnd: () => controller.abort(),
    }), /AbortError/);
    return [];
  }));

  it('say in their files how they were made', async () => {
    const options = { numInferenceSteps: 2, guidanceScale: 5 };
    const { images } = await text.generate(['a star', 'a road'], {
      ...options, numImagesPerPrompt: 2, generator: [1, 2, 3, 4].map(seeded), negativePrompt: ['red', ''],
    });
    const read = await Promise.all(images.map(async image => parseGenerationParameters((await Image.fromPng(await image.toPng())).text.parameters)));
    const common = { numInferenceSteps: 2, scheduler: 'PLMS', guidanceScale: 5, width: 16, height: 16 };
    assert.deepEqual(read, [
      { prompt: 'a star', negativePrompt: 'red', ...common, seed: 1 }, { prompt: 'a star', negativePrompt: 'red', ...common, seed: 2 },
      { prompt: 'a road', ...common, seed: 3 }, { prompt: 'a road', ...common, seed: 4 },
    ]);
    const changed = await img2img.generate('a star', { ...options, image: red, strength: 0.5 });
    assert.deepEqual(parseGenerationParameters(changed.images[0].text.parameters), { prompt: 'a star', ...common, strength: 0.5 });
  });

  it('leave a picture as the autoencoder knows it where the mask is black', async () => {
    const black = new Image(new Uint8Array(16 * 16 * 3), 16, 16);
    const options = { image: red, numInferenceSteps: 3, generator: seeded(1), outputType: 'latent' } as const;
    const { images } = await inpaint.generate('a star', { ...options, maskImage: black });
    const { latentDist } = (text.vae as AutoencoderKL).encode(tf.tidy(() => Image.toTensor([red]).mul(2).sub(1)));
    const known = latentDist.sample(seeded(1)).mul(text.vae.config.scaling_factor);
    expectClose(images, { shape: known.shape, data: known.dataSync() });
    tf.dispose([images, known]);
    latentDist.dispose();
  });

  it('say what does not fit, before any work', () => expectNoLeak(async () => {
    const tensor = tf.zeros([1, 16, 16, 3]);
    const flat = tf.zeros([768]);
    const rejects = async (work: Promise<unknown>, message: RegExp) => assert.rejects(work, message);
    await rejects(img2img.generate('a', {} as never), /TypeError: image: got undefined, takes an Image, a list of them or a tensor \[images, height, width, 3 or 4\]/);
    await rejects(img2img.generate('a', { image: [] }), /TypeError: image: got \[\], takes an Image/);
    await rejects(img2img.generate('a', { image: [red, red] }), /RangeError: image: got 2, takes a number that divides 1, which is how many are to be made/);
    await rejects(img2img.generate('a', { image: red, strength: 1.5 }), /RangeError: strength: got 1.5, takes a number from 0 to 1/);
    await rejects(img2img.generate('a', { image: red, strength: 0.01 }), /RangeError: strength: got 0.01, which leaves none of 50 steps, takes 0.02 or more/);
    await rejects(img2img.generate('a', { image: red, height: 8 } as never), /TypeError: generate: there is no option 'height'; takes .*, image, strength$/);
    await rejects(img2img.generate('a', { image: flat }), /RangeError: image: got shape \[768\], takes \[\*, \*, \*, 3\]/);
    await rejects(inpaint.generate('a', { image: red } as never), /TypeError: maskImage: got undefined, takes an Image, .* 1\]/);
    await rejects(inpaint.generate('a', { image: red, maskImage: tensor }), /RangeError: maskImage: got shape \[1, 16, 16, 3\], takes \[\*, \*, \*, 1\]/);
    const unet = await UNet2DConditionModel.fromPretrained(TINY_INPAINT_UNET);
    const nine = new StableDiffusionPipeline({ ...text.components, unet });
    await rejects(nine.generate('a'), /RangeError: unet: in_channels: got 9, takes 4; one of 9 channels is for StableDiffusionInpaintPipeline/);
    unet.dispose();
    return [tensor, flat];
  }));
});
