import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Image } from '../../lib/image/image.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import type { ControlNets } from '../../lib/models/controlnets.js';
import { MultiControlNetModel } from '../../lib/models/multi_controlnet.js';
import type { ControlImages } from '../../lib/pipelines/controlnet/picture_control.js';
import {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, DiffusionPipeline, LatentConsistencyModelPipeline,
  StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetInpaintPipeline, StableDiffusionControlNetPipeline, StableDiffusionPipeline,
  StableDiffusionXLControlNetPipeline,
} from '../../lib/pipelines/index.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, defined, goldenImages, seeded, TINY, TINY_XL, type ControlCase } from '../support/tiny_pipeline.js';

/** Options of a case in the words of golden/parts/controlnet.py. */
interface Case extends ControlCase {
  prompts: string[];
  scheduler?: string;
}

const { tensors, meta } = loadGolden('pipelines/controlnet');
const others = loadGolden('pipelines/controlnet_others');
const FOLDERS = [0, 1].map(i => `spec/golden/pipelines/controlnet_${i}`);
const close = { atol: 5e-4, rtol: 1e-4 };

describeOnDevices('Pipelines that ControlNets steer', device => {
  const folder = temporaryFolder();
  let nets: ControlNetModel[];
  let base: StableDiffusionPipeline;
  before(async () => {
    base = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    nets = await Promise.all(FOLDERS.map(folder => ControlNetModel.fromPretrained(folder)));
  });
  after(() => {
    base.dispose();
    nets.forEach(net => net.dispose());
  });

  const pipeline = (controlnet: ControlNets = nets[0]) => {
    const pipe = new StableDiffusionControlNetPipeline({ ...base.components, controlnet });
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  const pictureOf = (seed = 0, height = 16, width = 16) =>
    new Image(Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * (seed + 3)) % 256), width, height);

  for (const [name, options] of Object.entries(meta.cases as Record<string, Case>)) {
    it(`draws what diffusers draws, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pipe = pipeline(options.nets === 2 ? new MultiControlNetModel(nets) : nets[0]);
      if (options.scheduler) pipe.scheduler = schedulerClass(options.scheduler).fromConfig(base.scheduler.config);
      const pictures = Array.from({ length: options.nets ?? 1 }, (_, n) => goldenImages(tensors[`${name}/picture/${n}`]));
      const image = pictures.map(each => each.length > 1 ? each : each[0]);
      const { images } = await pipe.generate(options.prompts, {
        ...commonOptions(options), image: (options.nets === 2 ? image : image[0]) as ControlImages, height: options.height, width: options.width,
        controlnetConditioningScale: options.scale, guessMode: options.guess_mode, controlGuidanceStart: options.start, controlGuidanceEnd: options.end,
      });
      expectClose(images, tensors[`${name}/out`], close);
      return images;
    }));
  }

  /** How a case steers. */
  const steering = ({ scale, start, end, guess_mode }: Omit<Case, 'prompts'>) =>
    ({ controlnetConditioningScale: scale, guessMode: guess_mode, controlGuidanceStart: start, controlGuidanceEnd: end });

  for (const [name, options] of Object.entries(others.meta.img2img as Record<string, Omit<Case, 'scheduler'>>)) {
    it(`goes on from a picture as diffusers does, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pipe = new StableDiffusionControlNetImg2ImgPipeline({ ...base.components, controlnet: nets[0] });
      pipe.setProgressBarConfig({ disable: true });
      const [image, controlImage] = ['begun', `img2img/${name}/picture/0`].map(picture => goldenImages(others.tensors[picture])[0]);
      const { images } = await pipe.generate(others.meta.prompt, { ...commonOptions(options), ...steering(options), image, controlImage, strength: options.strength });
      expectClose(images, others.tensors[`img2img/${name}/out`], close);
      return images;
    }));
  }

  for (const [name, options] of Object.entries(others.meta.xl as Record<string, Omit<Case, 'scheduler'>>)) {
    it(`draws what diffusers draws by SDXL, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pipe = await StableDiffusionXLControlNetPipeline.fromPretrained(TINY_XL, {
        device, compile: false, controlnet: await ControlNetModel.fromPretrained('spec/golden/pipelines/controlnet_xl'),
      });
      pipe.setProgressBarConfig({ disable: true });
      const [image] = goldenImages(others.tensors[`xl/${name}/picture/0`]);
      const { images } = await pipe.generate(others.meta.prompt, { ...defined(commonOptions(options)), ...steering(options), image });
      expectClose(images, others.tensors[`xl/${name}/out`], close);
      pipe.dispose();
      return images;
    }));
  }

  it('loads, compiles, offloads and slices as other pipelines do, to the same effect', () => expectNoLeak(async () => {
    const draw = async (pipe: StableDiffusionControlNetPipeline) =>
      (await pipe.generate('a star', { image: pictureOf(), numInferenceSteps: 3, generator: seeded(1), outputType: 'latent' })).images;
    const expected = await draw(pipeline());
    const values = { shape: expected.shape, data: expected.dataSync() };
    for (const use of [
      (pipe: StableDiffusionControlNetPipeline) => pipe.compile({ xla: false }),
      (pipe: StableDiffusionControlNetPipeline) => pipe.enableModelCpuOffload(),
      (pipe: StableDiffusionControlNetPipeline) => pipe.enableSequentialCpuOffload(),
      (pipe: StableDiffusionControlNetPipeline) => pipe.enableAttentionSlicing('max'),
    ]) {
      const loaded = await StableDiffusionControlNetPipeline.fromPretrained(TINY, {
        device, compile: false, controlnet: await ControlNetModel.fromPretrained(FOLDERS[0]),
      });
      loaded.setProgressBarConfig({ disable: true });
      if (device !== 'wasm' || !String(use).includes('compile')) use(loaded);
      for (let picture = 0; picture < 2; picture++) {
        const latents = await draw(loaded);
        expectClose(latents, values, close);
        latents.dispose();
      }
      loaded.dispose();
    }
    return expected;
  }));

  it('opens a folder with several ControlNets, as diffusers saves them', () => expectNoLeak(async () => {
    const path = join(folder(), 'two');
    cpSync(TINY, path, { recursive: true });
    FOLDERS.forEach((from, i) => cpSync(from, join(path, i === 0 ? 'controlnet' : `controlnet_${i}`), { recursive: true }));
    const index = JSON.parse(readFileSync(join(path, 'model_index.json'), 'utf8')) as object;
    const controlnet = ['diffusers.pipelines.controlnet', 'MultiControlNetModel'];
    writeFileSync(join(path, 'model_index.json'), JSON.stringify({ ...index, _class_name: 'StableDiffusionControlNetPipeline', controlnet }));
    const loaded = await DiffusionPipeline.fromPretrained(path, { device, compile: false }) as unknown as StableDiffusionControlNetPipeline;
    const alone = await MultiControlNetModel.fromPretrained(join(path, 'controlnet'));
    loaded.setProgressBarConfig({ disable: true });
    const draw = (pipe: StableDiffusionControlNetPipeline) => pipe.generate('a star', {
      image: [pictureOf(1), pictureOf(2)], numInferenceSteps: 2, generator: seeded(1), outputType: 'latent',
    });
    const { images: expected } = await draw(pipeline(new MultiControlNetModel(nets)));
    for (const pipe of [loaded, pipeline(alone)]) {
      const { images } = await draw(pipe);
      expectClose(images, { shape: expected.shape, data: expected.dataSync() }, close);
      images.dispose();
    }
    [loaded, alone].forEach(each => each.dispose());
    return expected;
  }));

  it('steers: a picture that is steered by nothing is the plain one', () => expectNoLeak(async () => {
    const shared = { numInferenceSteps: 3, generator: seeded(1), outputType: 'latent' } as const;
    const { images: plain } = await base.generate('a star', shared);
    const { images: steered } = await pipeline().generate('a star', { ...shared, generator: seeded(1), image: pictureOf() });
    const { images: none } = await pipeline().generate('a star', { ...shared, generator: seeded(1), image: pictureOf(), controlnetConditioningScale: 0 });
    assert.deepEqual(none.dataSync(), plain.dataSync());
    assert.notDeepEqual(steered.dataSync(), plain.dataSync());
    return [plain, steered, none];
  }));

  it('takes a tensor as it is', () => expectNoLeak(async () => {
    const shared = { numInferenceSteps: 2, outputType: 'latent' } as const;
    const image = tf.tidy(() => tf.div(tf.tensor4d(Array.from(pictureOf().data), [1, 16, 16, 3]), 255));
    const { images: expected } = await pipeline().generate('a star', { ...shared, generator: seeded(1), image: pictureOf() });
    const { images } = await pipeline().generate('a star', { ...shared, generator: seeded(1), image });
    expectClose(images, { shape: expected.shape, data: expected.dataSync() }, close);
    return [image, images, expected];
  }));

  it('is what AutoPipelines make where there is a ControlNet, as in diffusers', async () => {
    const [controlnet] = nets;
    const made = await AutoPipelineForText2Image.fromPretrained<StableDiffusionControlNetPipeline>(TINY, { device, controlnet });
    assert.deepEqual([made.constructor, made.controlnet], [StableDiffusionControlNetPipeline, controlnet]);
    for (const network of [made.unet, made.vae, made.textEncoder]) network.dispose(); // the ControlNet is others' too
    const img2img = AutoPipelineForImage2Image.fromPipe(base, { controlnet });
    assert.equal(img2img.constructor, StableDiffusionControlNetImg2ImgPipeline);
    assert.equal(AutoPipelineForText2Image.fromPipe(img2img).constructor, StableDiffusionControlNetPipeline);
    assert.equal(AutoPipelineForText2Image.fromPipe(img2img, { controlnet: undefined }).constructor, StableDiffusionPipeline);
    assert.ok(AutoPipelineForImage2Image.supports(img2img));
    assert.equal(AutoPipelineForInpainting.fromPipe(img2img).constructor, StableDiffusionControlNetInpaintPipeline);
    const distilled = new LatentConsistencyModelPipeline(base.components as never);
    assert.throws(() => AutoPipelineForText2Image.fromPipe(distilled, { controlnet }),
      /^RangeError: AutoPipelineForText2Image: got 'LatentConsistencyModelPipeline' with a ControlNet, takes one of the families of StableDiffusion3Pipeline, StableDiffusionXLPipeline, StableDiffusionPipeline$/);
  });

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const both = new MultiControlNetModel(nets);
    const image = pictureOf();
    const refused = (message: RegExp, options: object, prompt: string | string[] = 'a star', controlnet?: ControlNets) =>
      assert.rejects(pipeline(controlnet).generate(prompt, { image, ...options }), message);
    await refused(/^TypeError: image: got undefined, takes an Image, a list of them or a tensor \[images, height, width, 3\]$/, { image: undefined });
    const grey = tf.zeros([1, 16, 16, 1]);
    await refused(/^RangeError: image: got shape \[1, 16, 16, 1\], takes \[\*, \*, \*, 3\]$/, { image: grey });
    grey.dispose();
    await refused(/^RangeError: image: got 3 pictures, takes 1 or 2, one for each prompt$/, { image: [image, image, image] }, ['a', 'b']);
    await refused(/^TypeError: image: got a list of 1, takes a list of 2, one for each ControlNet$/, { image: [image] }, 'a', both);
    await refused(/^RangeError: controlnetConditioningScale: got a list of 3, takes a number, or a list of 2, one for each ControlNet$/,
      { image: [image, image], controlnetConditioningScale: [1, 2, 3] }, 'a', both);
    await refused(/^RangeError: controlGuidanceEnd: got 2, takes a number from 0 to 1$/, { controlGuidanceEnd: 2 });
    await refused(/^RangeError: controlGuidanceStart: got 0\.5, takes less than controlGuidanceEnd, 0\.5$/, { controlGuidanceStart: 0.5, controlGuidanceEnd: 0.5 });
    await refused(/^TypeError: generate: there is no option 'strength'/, { strength: 1 });
    assert.throws(() => pipeline(nets as never), /^TypeError: controlnet: got .*, takes new MultiControlNetModel\(\[\.\.\.\]\) of several$/);
    assert.throws(() => pipeline({} as never), /^TypeError: controlnet: got .*, takes one by ControlNetModel\.fromPretrained\(\.\.\.\)$/);
    assert.throws(() => new MultiControlNetModel([]), /^TypeError: controlnet: got an empty list, takes at least one$/);
    assert.throws(() => pipeline().enableDeepCache(), /^Error: enableDeepCache: does not go together with a ControlNet/);
    return [];
  }));
});
