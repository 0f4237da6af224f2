import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Image } from '../../lib/image/image.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import type { GenerateOutput } from '../../lib/pipelines/inputs/generate_options.js';
import type { ImageInput } from '../../lib/pipelines/inputs/image_input.js';
import {
  DiffusionPipeline, StableDiffusionDepth2ImgPipeline, StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline, StableDiffusionUpscalePipeline,
  StableDiffusionXLInstructPix2PixPipeline,
} from '../../lib/pipelines/index.js';
import { DDIMScheduler } from '../../lib/schedulers/ddim.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import type { Scheduler } from '../../lib/schedulers/scheduler.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { editFolders } from '../support/edit_folders.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, defined, goldenImages, goldenPixels, seeded, TINY, type PipelineCase } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';
import { goldenTensor } from '../support/weights.js';

/** Options of a case in the words of golden/parts/edit.py. */
interface Case extends PipelineCase {
  image_guidance_scale?: number;
  noise_level?: number;
  picture?: boolean;
  cosxl?: boolean;
  denoising_end?: number;
  prompt_2?: string;
  original_size?: [number, number];
  crops_coords_top_left?: [number, number];
  target_size?: [number, number];
}

type Cases = Record<string, [prompt: string | string[], options: Case]>;

/** What the four have in common. */
type Pipeline = StableDiffusionPipeline | StableDiffusionXLInstructPix2PixPipeline;
type Generate = (prompt: string | string[], options: object) => Promise<GenerateOutput<'latent'>>;

const golden = loadGolden('pipelines/edit');
const { tensors, meta } = golden;
const close = { atol: 5e-4, rtol: 5e-4 };

const CLASSES = {
  edit: StableDiffusionInstructPix2PixPipeline, xl_edit: StableDiffusionXLInstructPix2PixPipeline, depth: StableDiffusionDepth2ImgPipeline,
  upscale: StableDiffusionUpscalePipeline,
};

const pictureOf = (seed = 0, height = 16, width = 16) =>
  new Image(Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * (seed + 3)) % 256), width, height);

describeOnDevices('Pipelines that change pictures, and enlarge them', device => {
  const folder = temporaryFolder();
  const quiet = <P extends DiffusionPipeline>(pipe: P) => {
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  const load = async (path: string, options: object = {}) => quiet(await DiffusionPipeline.fromPretrained(path, { device, compile: false, ...options }) as Pipeline);

  const folderOf = (kind: keyof typeof CLASSES, index?: object) => editFolders[kind](join(folder(), kind), index);

  for (const kind of Object.keys(CLASSES) as Array<keyof typeof CLASSES>) {
    describe(`${CLASSES[kind].name} equals diffusers`, () => {
      let pipe: Pipeline;
      let own: Scheduler;
      before(async () => {
        pipe = await load(folderOf(kind));
        own = pipe.scheduler;
        assert.equal(pipe.constructor, CLASSES[kind]);
      });
      after(() => pipe.dispose());

      for (const [name, [prompt, options]] of Object.entries(meta[kind] as Cases)) {
        it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
          const [scheduler, overrides] = options.scheduler ?? [(own.constructor as typeof Scheduler).className, {}];
          pipe.scheduler = schedulerClass(scheduler).fromConfig(own.config, overrides);
          if (pipe instanceof StableDiffusionXLInstructPix2PixPipeline) pipe.isCosxlEdit = options.cosxl ?? false;
          const key = `${kind}/${name}`;
          const given = tensors[`${key}/image`];
          const image: ImageInput = options.as_tensor === 'latents' ? goldenTensor(golden, `${key}/image`)
            : options.as_tensor === 'pixels' ? goldenPixels(given) : goldenImages(given);
          const latents = tensors[`${key}/latents`] && goldenTensor(golden, `${key}/latents`);
          const maps = tensors[`${key}/maps`];
          const depthMap = maps && tf.tensor(Float32Array.from(maps.data), [...maps.shape, 1]);
          const { images } = await (pipe.generate as Generate).call(pipe, prompt, defined({
            ...commonOptions(options), image, latents, depthMap, imageGuidanceScale: options.image_guidance_scale, noiseLevel: options.noise_level,
            strength: options.strength, height: options.height, width: options.width, prompt2: options.prompt_2, denoisingEnd: options.denoising_end,
            originalSize: options.original_size, cropsCoordsTopLeft: options.crops_coords_top_left, targetSize: options.target_size,
            ...options.picture && { outputType: 'tensor' },
          }));
          expectClose(images, tensors[`${key}/out`], options.picture ? { atol: 2 / 255 / 4 } : close);
          return [images, image instanceof tf.Tensor ? image : [], latents ?? [], depthMap ?? []];
        }));
      }
    });
  }

  for (const [name, [prompt, options]] of Object.entries(meta.led as Cases)) {
    it(`are led by other pictures as diffusers' are, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pipe = await load(folderOf('edit')) as StableDiffusionInstructPix2PixPipeline;
      await pipe.loadIpAdapter('spec/golden/pipelines', { weightName: 'edit_ip_adapter.safetensors', imageEncoderFolder: 'ip_adapter/image_encoder' });
      const { images } = await pipe.generate(prompt, {
        ...commonOptions(options), image: goldenImages(tensors[`edit/${name}/image`]), imageGuidanceScale: options.image_guidance_scale,
        ipAdapterImage: goldenImages(tensors['edit/leading'])[0],
      });
      expectClose(images, tensors[`edit/${name}/out`], close);
      await pipe.unloadIpAdapter();
      pipe.dispose();
      return images;
    }));
  }

  it('depth maps may be pictures', () => expectNoLeak(async () => {
    const pipe = await load(folderOf('depth')) as StableDiffusionDepth2ImgPipeline;
    const { data, shape: [count, height, width] } = tensors['depth/list/maps'];
    const grey = Array.from({ length: count }, (_, i) =>
      new Image(Uint8Array.from({ length: height * width * 3 }, (_, at) => data[i * height * width + Math.floor(at / 3)]), width, height));
    const [prompt, options] = (meta.depth as Cases).list;
    const { images } = await pipe.generate(prompt, { ...commonOptions(options), image: goldenImages(tensors['depth/list/image']), depthMap: grey, strength: options.strength });
    expectClose(images, tensors['depth/list/out'], close);
    pipe.dispose();
    return images;
  }));

  it('a depth map without any depth gives numbers', () => expectNoLeak(async () => {
    const pipe = await load(folderOf('depth')) as StableDiffusionDepth2ImgPipeline;
    const flat = new Image(new Uint8Array(8 * 8 * 3).fill(7), 8, 8);
    const { images } = await pipe.generate('a', { image: pictureOf(), depthMap: flat, numInferenceSteps: 2, outputType: 'latent', detectAnomaly: true });
    pipe.dispose();
    return images;
  }));

  it('guidance may stop before the end, as by a picture alone from there on', () => expectNoLeak(async () => {
    const pipe = await load(folderOf('edit')) as StableDiffusionInstructPix2PixPipeline;
    const draw = (options: object) => pipe.generate(['a star', 'a road'], { image: pictureOf(), numInferenceSteps: 3, generator: seeded(1), outputType: 'latent', ...options });
    const { images: never } = await draw({ guidanceStop: 0 });
    const { images: unguided } = await draw({ guidanceScale: 1 });
    expectClose(never, { shape: unguided.shape, data: unguided.dataSync() }, close);
    const { images: half } = await draw({ guidanceStop: 0.5 });
    assert.notDeepEqual(half.dataSync(), never.dataSync());
    pipe.dispose();
    return [never, unguided, half];
  }));

  it('load, compile, offload, slice, cache and merge as other pipelines do', () => expectNoLeak(async () => {
    const uses: Array<(pipe: Pipeline) => void> = [
      pipe => pipe.compile({ xla: false }), pipe => pipe.enableModelCpuOffload(), pipe => pipe.enableSequentialCpuOffload(), pipe => pipe.enableAttentionSlicing('max'),
      pipe => pipe.enableVaeSlicing(), pipe => pipe.enableDeepCache({ cacheInterval: 1 }),
    ];
    for (const kind of Object.keys(CLASSES) as Array<keyof typeof CLASSES>) {
      const path = folderOf(kind);
      const draw = async (pipe: Pipeline) => {
        const { images } = await (pipe.generate as Generate).call(pipe, ['a star', 'a road'], {
          image: pictureOf(), ...kind === 'depth' && { depthMap: pictureOf(2) }, numInferenceSteps: 4, generator: seeded(1), outputType: 'tensor',
        });
        const values = { shape: images.shape, data: images.dataSync() };
        images.dispose();
        return values;
      };
      const plain = await load(path);
      const expected = await draw(plain);
      plain.dispose();
      for (const use of uses) {
        if (device === 'wasm' && use === uses[0]) continue;
        const pipe = await load(path);
        use(pipe);
        for (let times = 0; times < 2; times++) {
          const drawn = await draw(pipe);
          const made = tf.tensor(drawn.data as Float32Array, [...drawn.shape]);
          expectClose(made, expected, close);
          made.dispose();
        }
        pipe.dispose();
      }
    }
    return [];
  }));

  it('take half weights, the upscaler but for its VAE', () => expectNoLeak(async () => {
    const pipe = await load(folderOf('upscale'), { dtype: 'float16' }) as StableDiffusionUpscalePipeline;
    assert.deepEqual([pipe.unet.weightDtype, pipe.vae.weightDtype], ['float16', 'float32']);
    const [prompt, options] = (meta.upscale as Cases).default;
    const { images } = await pipe.generate(prompt, { ...commonOptions(options), image: goldenImages(tensors['upscale/default/image']) });
    expectClose(images, tensors['upscale/default/out'], { atol: 0.1, rtol: 0.05 });
    pipe.dispose();
    return images;
  }));

  it('are interrupted, and tell of steps', () => expectNoLeak(async () => {
    const pipe = await load(folderOf('edit')) as StableDiffusionInstructPix2PixPipeline;
    const steps: number[] = [];
    const controller = new AbortController();
    await assert.rejects(pipe.generate('a', {
      image: pictureOf(), signal: controller.signal,
      callbackOnStepEnd: (_, step) => {
        steps.push(step);
        if (step === 1) controller.abort(new Error('enough'));
      },
    }), /^Error: enough$/);
    assert.deepEqual(steps, [0, 1]);
    assert.equal(pipe.numTimesteps, 101); // PNDM takes one more
    pipe.dispose();
    return [];
  }));

  it('are made of what others are made of', () => expectNoLeak(async () => {
    const pipe = await load(folderOf('upscale')) as StableDiffusionUpscalePipeline;
    const same = new StableDiffusionUpscalePipeline(pipe.components);
    assert.deepEqual(same.components, pipe.components);
    assert.equal(same.maxNoiseLevel, 350);
    const xl = await load(folderOf('xl_edit', { is_cosxl_edit: true })) as StableDiffusionXLInstructPix2PixPipeline;
    assert.equal(xl.isCosxlEdit, true);
    assert.equal(new StableDiffusionXLInstructPix2PixPipeline(xl.components).isCosxlEdit, true);
    [pipe, xl].forEach(each => each.dispose());
    return [];
  }));

  it('the upscaler takes its own scaling factor, and says so', () => expectNoLeak(async () => {
    const pipe = await load(folderOf('upscale')) as StableDiffusionUpscalePipeline;
    const vae = new AutoencoderKL({ ...pipe.vae.config as AutoencoderKL['config'], scaling_factor: 0.18215 });
    for (const [key, value] of Object.entries(pipe.vae.stateDict())) vae.setParameter(key, value.clone());
    const warnings = await captureWarnings(async () => {
      const other = quiet(new StableDiffusionUpscalePipeline({ ...pipe.components, vae }));
      const [prompt, options] = (meta.upscale as Cases).picture;
      const { images } = await other.generate(prompt, { ...commonOptions(options), image: goldenImages(tensors['upscale/picture/image']), outputType: 'tensor' });
      expectClose(images, tensors['upscale/picture/out'], { atol: 2 / 255 / 4 });
      images.dispose();
    });
    assert.deepEqual(warnings, ['vae config: scaling_factor 0.18215 is outdated, taking 0.08333']);
    [pipe.unet, pipe.textEncoder, pipe.vae, vae].forEach(network => network.dispose());
    return [];
  }));

  it('say what does not fit, before any work', () => expectNoLeak(async () => {
    const edit = await load(folderOf('edit')) as StableDiffusionInstructPix2PixPipeline;
    const depth = await load(folderOf('depth')) as StableDiffusionDepth2ImgPipeline;
    const upscale = await load(folderOf('upscale')) as StableDiffusionUpscalePipeline;
    const refused = (pipe: Pipeline, message: RegExp, options: object, prompt: string | string[] = 'a star') =>
      assert.rejects((pipe.generate as Generate).call(pipe, prompt, { image: pictureOf(), ...options }), message);
    await refused(edit, /^TypeError: image: got undefined, takes an Image, a list of them or a tensor \[images, height, width, 3 or 4\]$/, { image: undefined });
    await refused(edit, /^RangeError: imageGuidanceScale: got NaN, takes a number$/, { imageGuidanceScale: NaN });
    await refused(edit, /^RangeError: image: got 3, takes a number that divides 2/, { image: [pictureOf(), pictureOf(), pictureOf()] }, ['a', 'b']);
    await refused(edit, /^TypeError: generate: there is no option 'strength'/, { strength: 1 });
    await refused(edit, /^TypeError: generate: there is no option 'height'/, { height: 16 });
    await refused(depth, /^TypeError: depthMap: got undefined, takes a picture or a tensor \[maps, height, width, 1\].*: no depth estimator comes with this library/, {});
    const [colours, four] = [3, 4].map(channels => tf.zeros([1, 8, 8, channels]));
    await refused(depth, /^RangeError: depthMap: got shape \[1, 8, 8, 3\], takes \[\*, \*, \*, 1\]$/, { depthMap: colours });
    await refused(depth, /^RangeError: depthMap: got 2, takes a number that divides 1/, { depthMap: [pictureOf(), pictureOf()] });
    await refused(depth, /^RangeError: strength: got 2, takes a number from 0 to 1$/, { depthMap: pictureOf(), strength: 2 });
    await refused(upscale, /^RangeError: noiseLevel: got 351, takes a whole number, from 0 to 350$/, { noiseLevel: 351 });
    await refused(upscale, /^RangeError: noiseLevel: got 0\.5, takes a whole number, from 0 to 350$/, { noiseLevel: 0.5 });
    await refused(upscale, /^RangeError: image: got shape \[1, 8, 8, 4\], takes \[\*, \*, \*, 3\]$/, { image: four });
    tf.dispose([colours, four]);
    assert.throws(() => new StableDiffusionUpscalePipeline({ ...upscale.components, lowResScheduler: undefined as never }), /^TypeError: lowResScheduler: got undefined, takes a Scheduler, as DDPMScheduler$/);
    assert.throws(() => new StableDiffusionUpscalePipeline({ ...upscale.components, lowResScheduler: DDIMScheduler as never }), /^TypeError: lowResScheduler: got .*, takes a Scheduler, as DDPMScheduler$/);
    const plain = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    const unets: Array<[Pipeline, RegExp]> = [
      [edit, /^RangeError: unet: in_channels: got 8, takes 4; one of 8 channels is for StableDiffusionInstructPix2PixPipeline$/],
      [depth, /^RangeError: unet: in_channels: got 5, takes 4; one of 5 channels is for StableDiffusionDepth2ImgPipeline$/],
      [upscale, /^RangeError: unet: num_class_embeds: got 360, takes null/],
    ];
    for (const [{ unet }, message] of unets) await assert.rejects(new StableDiffusionPipeline({ ...plain.components, unet }).generate('a'), message);
    const wrong = new StableDiffusionInstructPix2PixPipeline(plain.components);
    await refused(wrong, /^RangeError: unet: in_channels: got 4, takes 8$/, {});
    await assert.rejects(load(folderOf('upscale', { max_noise_level: 'much' })), /^ModelFileError: .*max_noise_level: got 'much', takes a whole number from 0 on$/);
    [edit, depth, upscale, plain].forEach(pipe => pipe.dispose());
    return [];
  }));
});
