import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Image } from '../../lib/image/image.js';
import { MultiAdapter, type Adapters } from '../../lib/models/multi_adapter.js';
import { T2IAdapter } from '../../lib/models/t2i_adapter.js';
import type { AdapterOptions } from '../../lib/pipelines/t2i_adapter/adapter_steering.js';
import { DiffusionPipeline, StableDiffusionAdapterPipeline, StableDiffusionPipeline, StableDiffusionXLAdapterPipeline, StableDiffusionXLPipeline } from '../../lib/pipelines/index.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, defined, expectImages, goldenImages, seeded, TINY, TINY_XL, type PipelineCase } from '../support/tiny_pipeline.js';

/** Options of a case in the words of golden/parts/t2i_adapter.py. */
interface Case extends Omit<PipelineCase, 'scheduler'> {
  nets?: 'both' | 'light';
  prompts?: number;
  scale?: number | number[];
  factor?: number;
  denoising_end?: number;
  cache?: [interval: number, branch: number];
  scheduler?: string;
}

const { tensors, meta } = loadGolden('pipelines/t2i_adapter');
/** Of some of the cases, whole pictures. */
const { tensors: whole } = loadGolden('images/t2i_adapter');
const FOLDER = 'spec/golden/pipelines/t2i';
const close = { atol: 5e-4, rtol: 1e-4 };

describeOnDevices('Pipelines that T2I-Adapters steer', device => {
  const temporary = temporaryFolder();
  let nets: { one: T2IAdapter; both: MultiAdapter; light: T2IAdapter };
  let xlNets: { one: T2IAdapter; both: MultiAdapter };
  let base: StableDiffusionPipeline;
  let xlBase: StableDiffusionXLPipeline;
  before(async () => {
    base = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    xlBase = await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device, compile: false });
    const [both, xlBoth] = [await MultiAdapter.fromPretrained(FOLDER), await MultiAdapter.fromPretrained(FOLDER, { subfolder: 'xl' })];
    nets = { one: both.adapters[0], both, light: await T2IAdapter.fromPretrained(FOLDER, { subfolder: 'light' }) };
    xlNets = { one: xlBoth.adapters[0], both: xlBoth };
  });
  after(() => {
    [base, xlBase].forEach(pipe => pipe.dispose());
    [nets.both, nets.light, xlNets.both].forEach(net => net.dispose());
  });

  const pipeline = (adapter: Adapters = nets.one) => {
    const pipe = new StableDiffusionAdapterPipeline({ ...base.components, adapter });
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  const xlPipeline = (adapter: Adapters = xlNets.one) => {
    const pipe = new StableDiffusionXLAdapterPipeline({ ...xlBase.components, adapter });
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  const pictureOf = (seed = 0, height = 16, width = 16) =>
    new Image(Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * (seed + 3)) % 256), width, height);

  /** What a case steers by, how, and at what prompts. */
  const given = (name: string, { nets, prompts = 1, scale, height, width }: Case): [string[], AdapterOptions & { height?: number; width?: number }] => {
    const pictures = Array.from({ length: nets === 'both' ? 2 : 1 }, (_, n) => goldenImages(tensors[`${name}/picture/${n}`]));
    const images = pictures.map(each => each.length > 1 ? each : each[0]);
    return [meta.prompts.slice(0, prompts), { image: (nets === 'both' ? images : images[0]) as AdapterOptions['image'], ...defined({ adapterConditioningScale: scale, height, width }) }];
  };

  for (const [name, options] of Object.entries(meta.cases as Record<string, Case>)) {
    it(`draws what diffusers draws, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pipe = pipeline(nets[options.nets ?? 'one']);
      if (options.scheduler) pipe.scheduler = schedulerClass(options.scheduler).fromConfig(base.scheduler.config);
      if (options.cache) pipe.enableDeepCache({ cacheInterval: options.cache[0], cacheBranchId: options.cache[1] });
      const [prompts, steering] = given(name, options);
      const { images } = await pipe.generate(prompts, { ...commonOptions(options), ...steering });
      expectClose(images, tensors[`${name}/out`], close);
      return images;
    }));
  }

  for (const [path, expected] of Object.entries(whole)) {
    const [name, xl] = [path.replace(/^xl\/|\/out$/g, ''), path.startsWith('xl/')];
    const options = meta[xl ? 'xl' : 'cases'][name] as Case;
    it(`makes the images that diffusers makes${xl ? ' by SDXL' : ''}, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const [prompts, steering] = given(xl ? `xl/${name}` : name, options);
      const settings = { ...defined(commonOptions(options)), ...steering, outputType: 'image' } as const;
      const pipe = xl ? xlPipeline(xlNets[options.nets === 'both' ? 'both' : 'one']) : pipeline(nets[options.nets ?? 'one']);
      const { images } = await pipe.generate(prompts, settings);
      expectImages(images, expected);
      return [];
    }));
  }

  for (const [name, options] of Object.entries(meta.xl as Record<string, Case>)) {
    it(`draws what diffusers draws by SDXL, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pipe = xlPipeline(options.nets === 'both' ? xlNets.both : xlNets.one);
      if (options.scheduler) pipe.scheduler = schedulerClass(options.scheduler).fromConfig(xlBase.scheduler.config);
      const [prompts, steering] = given(`xl/${name}`, options);
      const { images } = await pipe.generate(prompts, {
        ...defined(commonOptions(options)), ...steering, ...defined({ adapterConditioningFactor: options.factor, denoisingEnd: options.denoising_end }),
      });
      expectClose(images, tensors[`xl/${name}/out`], close);
      return images;
    }));
  }

  const shared = { numInferenceSteps: 3, outputType: 'latent' } as const;
  const draw = async (pipe: StableDiffusionAdapterPipeline, image: AdapterOptions['image'], options: object = {}) =>
    (await pipe.generate('a star', { ...shared, generator: seeded(1), image, ...options })).images;

  it('runs the adapter once for a picture, not at each step', () => expectNoLeak(async () => {
    for (const [net, image, name] of [[nets.one, pictureOf(), 'adapter'], [nets.both, [pictureOf(1), pictureOf(2)], 'adapter.adapters.1']] as const) {
      const pipe = pipeline(net);
      const { profile, result } = await pipe.profile(() => draw(pipe, image as AdapterOptions['image'], { numInferenceSteps: 5 }));
      const calls = (path: string) => profile.slices.filter(slice => slice.path === path).length;
      assert.equal(calls('unet'), 6); // of which PNDM takes one twice
      assert.equal(calls(name), 1);
      result.dispose();
    }
    return [];
  }));

  it('goes on steering where guidance stops', () => expectNoLeak(async () => {
    const pictures = [pictureOf(1), pictureOf(2)];
    const options = { ...shared, image: pictures, generator: [seeded(1), seeded(2)] };
    const { images } = await pipeline().generate(['a star', 'a road'], { ...options, guidanceStop: 0.5 });
    for (const [i, prompt] of ['a star', 'a road'].entries()) {
      const { images: alone } = await pipeline().generate(prompt, { ...shared, image: pictures[i], generator: seeded(i + 1), guidanceStop: 0.5 });
      const row = tf.slice(images, i, 1);
      expectClose(row, { shape: alone.shape, data: alone.dataSync() }, close);
      tf.dispose([row, alone]);
    }
    return images;
  }));

  it('takes one picture for all prompts', () => expectNoLeak(async () => {
    const [one, two] = [pictureOf(1), [pictureOf(1), pictureOf(1)]];
    const [expected, images] = [two, one].map(image => pipeline().generate(['a star', 'a road'], { ...shared, generator: seeded(1), image }));
    const [a, b] = [(await expected).images, (await images).images];
    expectClose(b, { shape: a.shape, data: a.dataSync() }, close);
    return [a, b];
  }));

  it('takes tensors as they are, of colours and of grey', () => expectNoLeak(async () => {
    const grey = new Image(pictureOf().data.map((_, i, all) => all[i - i % 3]), 16, 16);
    const made: tf.Tensor[] = [];
    for (const [net, image, channels] of [[nets.one, pictureOf(), 3], [nets.light, grey, 1]] as const) {
      const tensor = tf.tidy(() => tf.slice(tf.div(tf.tensor4d(Array.from(image.data), [1, 16, 16, 3]), 255), [0, 0, 0, 0], [-1, -1, -1, channels]));
      const expected = await draw(pipeline(net), image);
      const images = await draw(pipeline(net), tensor);
      expectClose(images, { shape: expected.shape, data: expected.dataSync() }, close);
      made.push(tensor, expected, images);
    }
    return made;
  }));

  it('is in the folders that diffusers saves: one adapter or several', () => expectNoLeak(async () => {
    for (const [source, name, className, folders] of [
      [TINY, 'StableDiffusionAdapterPipeline', 'T2IAdapter', { light: 'adapter' }],
      [TINY, 'StableDiffusionAdapterPipeline', 'MultiAdapter', { adapter: 'adapter', adapter_1: 'adapter_1' }],
      [TINY_XL, 'StableDiffusionXLAdapterPipeline', 'MultiAdapter', { xl: 'adapter', xl_1: 'adapter_1' }],
    ] as Array<[string, string, string, Record<string, string>]>) {
      const path = join(temporary(), `${className} ${name}`);
      cpSync(source, path, { recursive: true });
      for (const [from, to] of Object.entries(folders)) cpSync(join(FOLDER, from), join(path, to), { recursive: true });
      const index = JSON.parse(readFileSync(join(path, 'model_index.json'), 'utf8'));
      writeFileSync(join(path, 'model_index.json'), JSON.stringify({ ...index, _class_name: name, adapter: ['diffusers', className] }));
      const pipe = await DiffusionPipeline.fromPretrained(path, { device, compile: false }) as unknown as StableDiffusionAdapterPipeline;
      assert.equal(pipe.constructor.name, name);
      assert.equal(pipe.adapter.constructor.name, className);
      pipe.setProgressBarConfig({ disable: true });
      const latents = await draw(pipe, className === 'MultiAdapter' ? [pictureOf(1), pictureOf(2)] : pictureOf(1));
      const own = source === TINY ? pipeline(className === 'MultiAdapter' ? nets.both : nets.light) : xlPipeline(xlNets.both) as unknown as StableDiffusionAdapterPipeline;
      const expected = await draw(own, className === 'MultiAdapter' ? [pictureOf(1), pictureOf(2)] : pictureOf(1));
      expectClose(latents, { shape: expected.shape, data: expected.dataSync() }, close);
      tf.dispose([latents, expected]);
      pipe.dispose();
    }
    return [];
  }));

  it('compiles, offloads and slices as other pipelines do, to the same effect', () => expectNoLeak(async () => {
    for (const several of [false, true]) {
      const image = several ? [pictureOf(1), pictureOf(2)] : pictureOf();
      const expected = await draw(pipeline(several ? nets.both : nets.one), image);
      const values = { shape: expected.shape, data: expected.dataSync() };
      for (const use of [
        (pipe: StableDiffusionAdapterPipeline) => pipe.compile({ xla: false }),
        (pipe: StableDiffusionAdapterPipeline) => { pipe.compile({ xla: false }); pipe.enableModelCpuOffload(); },
        (pipe: StableDiffusionAdapterPipeline) => pipe.enableModelCpuOffload(),
        (pipe: StableDiffusionAdapterPipeline) => pipe.enableSequentialCpuOffload(),
        (pipe: StableDiffusionAdapterPipeline) => pipe.enableAttentionSlicing('max'),
      ]) {
        const loaded = await StableDiffusionAdapterPipeline.fromPretrained(TINY, {
          device, compile: false, adapter: several ? await MultiAdapter.fromPretrained(FOLDER) : await T2IAdapter.fromPretrained(`${FOLDER}/adapter`),
        });
        loaded.setProgressBarConfig({ disable: true });
        if (device !== 'wasm' || !String(use).includes('compile')) use(loaded);
        for (let picture = 0; picture < 2; picture++) {
          const latents = await draw(loaded, image);
          expectClose(latents, values, close);
          latents.dispose();
        }
        loaded.dispose();
      }
      expected.dispose();
    }
    return [];
  }));

  it('does nearly so in half precision, of the adapter alone, of the rest or of all', () => expectNoLeak(async () => {
    const latents = tf.randomNormal([1, 8, 8, 4], 0, 1, 'float32', 1); // noise is drawn otherwise in halves
    const options = { latents, guidanceScale: 1 };
    const expected = await draw(pipeline(), pictureOf(), options);
    for (const [own, dtype] of [['float16', 'float32'], ['float32', 'float16'], ['float16', 'float16'], ['bfloat16', 'float32']] as const) {
      const adapter = await T2IAdapter.fromPretrained(`${FOLDER}/adapter`, { dtype: own });
      const pipe = await StableDiffusionAdapterPipeline.fromPretrained(TINY, { device, compile: false, dtype, adapter });
      pipe.setProgressBarConfig({ disable: true });
      const drawn = await draw(pipe, pictureOf(), options);
      const atol = own === 'bfloat16' ? 1e-1 : 2e-2;
      expectClose(drawn, { shape: expected.shape, data: expected.dataSync() }, { atol, rtol: 1e-2 });
      drawn.dispose();
      pipe.dispose();
    }
    return [latents, expected];
  }));

  it('steers: what counts nothing gives the plain picture', () => expectNoLeak(async () => {
    const { images: plain } = await base.generate('a star', { ...shared, generator: seeded(1) });
    const [steered, none] = [await draw(pipeline(), pictureOf()), await draw(pipeline(), pictureOf(), { adapterConditioningScale: 0 })];
    assert.deepEqual(none.dataSync(), plain.dataSync());
    assert.notDeepEqual(steered.dataSync(), plain.dataSync());
    return [plain, steered, none];
  }));

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const image = pictureOf();
    const refused = (message: RegExp, options: object, prompt: string | string[] = 'a star', adapter?: Adapters) =>
      assert.rejects(pipeline(adapter).generate(prompt, { image, ...options }), message);
    const refusedXL = (message: RegExp, options: object) => assert.rejects(xlPipeline().generate('a star', { image, ...options }), message);
    await refused(/^TypeError: image: got undefined, takes an Image, a list of them or a tensor \[images, height, width, 3\]$/, { image: undefined });
    const grey = tf.zeros([1, 16, 16, 1]);
    await refused(/^RangeError: image: got shape \[1, 16, 16, 1\], takes \[\*, \*, \*, 3\]$/, { image: grey });
    grey.dispose();
    await refused(/^RangeError: image: got 3 pictures, takes 1 or 2, one for each prompt$/, { image: [image, image, image] }, ['a', 'b']);
    await refused(/^TypeError: image: got a list of 1, takes a list of 2, one for each adapter$/, { image: [image] }, 'a', nets.both);
    await refused(/^TypeError: image: got \[object Object\], takes a list of 2, one for each adapter$/, {}, 'a', nets.both);
    await refused(/^RangeError: adapterConditioningScale: got a list of 3, takes a number, or a list of 2, one for each adapter$/,
      { image: [image, image], adapterConditioningScale: [1, 2, 3] }, 'a', nets.both);
    await refused(/^RangeError: adapterConditioningScale: got NaN, takes a number$/, { adapterConditioningScale: NaN });
    await refused(/^TypeError: generate: there is no option 'adapter_conditioning_scale': it is called adapterConditioningScale here/, { adapter_conditioning_scale: 1 });
    await refused(/^TypeError: generate: there is no option 'adapterConditioningFactor'/, { adapterConditioningFactor: 1 });
    await refusedXL(/^RangeError: adapterConditioningFactor: got 2, takes a number from 0 to 1$/, { adapterConditioningFactor: 2 });
    await refusedXL(/^RangeError: height: got 18, takes a number of pixels divisible by 4, as the adapter does$/, { height: 18 });
    await refused(/^RangeError: adapter: gives channels 4 at 1\/4, 8 at 1\/4 of the picture's size, the unet takes 8 at 1\/2, 16 at 1\/4: it is for another model$/, {}, 'a', xlNets.one);
    const five = new T2IAdapter({ ...nets.one.config, in_channels: 5 });
    await refused(/^TypeError: image: got \[object Object\], takes a tensor \[images, height, width, 5\]: the adapter has in_channels 5$/, {}, 'a', five);
    assert.throws(() => pipeline(nets.both.adapters as never), /^TypeError: adapter: got .*, takes new MultiAdapter\(\[\.\.\.\]\) of several$/);
    assert.throws(() => pipeline({} as never), /^TypeError: adapter: got .*, takes one by T2IAdapter\.fromPretrained\(\.\.\.\)$/);
    return [];
  }));
});
