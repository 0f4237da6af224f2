import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { encodeWeightedPrompt } from '../../lib/pipelines/weighted_prompt.js';
import { availableDevices, useDevice } from '../../lib/runtime/devices.js';
import { schedulerClasses } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';

type Draw = () => Promise<{ images: tf.Tensor }>;

/** Each of these alone, then all of them at once: the same latents. */
async function expectSameAtOnce(draws: Draw[]): Promise<tf.Tensor[]> {
  const alone: tf.Tensor[] = [];
  for (const draw of draws) alone.push((await draw()).images);
  const together = (await Promise.all(draws.map(draw => draw()))).map(({ images }) => images);
  together.forEach((latents, i) => assert.deepEqual(latents.dataSync(), alone[i].dataSync()));
  return [...alone, ...together];
}

describeOnDevices('Pipelines at work at once', device => {
  const image = new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => i * 5), 16, 16);
  const maskImage = new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => i % 48 < 24 ? 255 : 0), 16, 16);
  const common = { outputType: 'latent', eta: 1 } as const;
  let text: StableDiffusionPipeline;
  let img2img: StableDiffusionImg2ImgPipeline;
  let inpaint: StableDiffusionInpaintPipeline;
  beforeEach(async () => {
    text = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    img2img = new StableDiffusionImg2ImgPipeline(text.components);
    inpaint = new StableDiffusionInpaintPipeline(text.components);
    [text, img2img, inpaint].forEach(pipe => pipe.setProgressBarConfig({ disable: true }));
  });
  afterEach(() => text.dispose());

  const drawText = (pipe: StableDiffusionPipeline, prompt: string, seed: number, numInferenceSteps: number, height = 16): Draw =>
    () => pipe.generate(prompt, { ...common, generator: seeded(seed), numInferenceSteps, height });
  const drawImage = (seed: number): Draw => () => img2img.generate('a road', { ...common, image, strength: 0.8, numInferenceSteps: 5, generator: seeded(seed) });
  const drawPart = (seed: number): Draw => () => inpaint.generate('a tree', { ...common, image, maskImage, numInferenceSteps: 3, generator: seeded(seed) });

  for (const [name, Scheduler] of Object.entries(schedulerClasses)) {
    it(`of the same components draw as alone: ${name}`, () => {
      text.scheduler = img2img.scheduler = Scheduler.fromConfig(text.scheduler.config);
      return expectNoLeak(() => expectSameAtOnce([drawText(text, 'a star', 0, 3), drawImage(1)]));
    });
  }

  it('of the same components draw as alone, four of them in several sizes', () => {
    const second = new StableDiffusionPipeline(text.components);
    second.setProgressBarConfig({ disable: true });
    return expectNoLeak(() => expectSameAtOnce([drawText(text, 'a star', 0, 4), drawText(second, 'a star', 1, 5, 24), drawImage(2), drawPart(3)]));
  });

  it('of the same components draw as alone, with offload, DeepCache, and a profile', async () => {
    img2img.enableModelCpuOffload();
    inpaint.enableSequentialCpuOffload();
    inpaint.enableDeepCache();
    const profiled: Draw = () => text.profile(drawText(text, 'a star', 0, 4)).then(({ result }) => result);
    tf.dispose(await expectSameAtOnce([profiled, drawImage(1), drawPart(2)]));
  });

  it('of several components draw as alone, while another is loaded', async () => {
    const other = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    other.setProgressBarConfig({ disable: true });
    const load: Draw = async () => {
      const loaded = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false, scheduler: other.scheduler });
      loaded.setProgressBarConfig({ disable: true });
      return drawText(loaded, 'a star', 5, 3)().finally(() => loaded.dispose());
    };
    await expectNoLeak(() => expectSameAtOnce([drawText(text, 'a star', 0, 6), drawText(other, 'a star', 1, 6), load]));
    other.dispose();
  });

  it('on several devices draw each on its own', async function () {
    const [second] = (await availableDevices()).filter(each => each !== device && !(device !== 'wasm' && each !== 'wasm'));
    if (!second) this.skip();
    const other = await StableDiffusionPipeline.fromPretrained(TINY, { device: second, compile: false });
    other.setProgressBarConfig({ disable: true });
    const backends = async (pipe: StableDiffusionPipeline) => {
      const seen = new Set<string>();
      const { images } = await pipe.generate('a star', { ...common, generator: seeded(7), numInferenceSteps: 4, callbackOnStepEnd: () => { seen.add(tf.getBackend()); } });
      assert.equal(seen.size, 1);
      return { images, backend: [...seen][0] };
    };
    const [here, there] = await Promise.all([backends(text), backends(other)]);
    assert.notEqual(here.backend, there.backend);
    expectClose(here.images, { shape: there.images.shape, data: there.images.dataSync() }, { atol: 1e-4, rtol: 1e-4 });
    tf.dispose([here.images, there.images]);
    other.dispose();
    await useDevice(device);
  });

  it('on several devices draw to the last bit as alone, in turn and at once, with prompts that are encoded beside them', async function () {
    const [second] = (await availableDevices()).filter(each => each !== device && !(device !== 'wasm' && each !== 'wasm'));
    if (!second) this.skip();
    const other = await StableDiffusionPipeline.fromPretrained(TINY, { device: second, compile: false });
    other.setProgressBarConfig({ disable: true });
    const weighted = (pipe: StableDiffusionPipeline): Draw => async () => {
      const embeds = encodeWeightedPrompt(pipe, 'a (red:1.3) star');
      return pipe.generate(undefined, { ...common, ...embeds, generator: seeded(4), numInferenceSteps: 3 }).finally(() => tf.dispose({ ...embeds }));
    };
    await expectNoLeak(() => expectSameAtOnce([weighted(text), weighted(other), drawImage(1)]));
    other.dispose();
    await useDevice(device);
  });

  it('leave no scheduler changed but for its timesteps, which callbacks see', async () => {
    const { scheduler } = text;
    let steps = 0;
    const { images } = await text.generate('a star', { ...common, numInferenceSteps: 3, callbackOnStepEnd: pipe => {
      assert.equal(pipe.scheduler, scheduler);
      steps = scheduler.timesteps.length;
    } });
    images.dispose();
    assert.equal(steps, 4);
    assert.equal(text.scheduler, scheduler);
    assert.deepEqual(scheduler.clone().config, scheduler.config);
    assert.notDeepEqual(scheduler.clone().timesteps, scheduler.timesteps);
  });

  it('do not have their networks changed by another', async () => {
    const busy = /another pipeline of the same networks is at work, and one of the two changes them; await it first/;
    let attempts = 0;
    const { images } = await text.generate('a star', { ...common, numInferenceSteps: 2, callbackOnStepEnd: async () => {
      for (const change of [() => img2img.setLoraScale(0.5), () => img2img.unloadLoraWeights(), () => img2img.to(device), () => img2img.fuseLora()]) {
        await assert.rejects(change(), busy);
        attempts++;
      }
    } });
    images.dispose();
    assert.ok(attempts > 0);
    const change = img2img.to(device);
    await assert.rejects(text.generate('a star', common), busy);
    await change;
    (await text.generate('a star', { ...common, numInferenceSteps: 1 })).images.dispose();
  });

  it('wait for their turn where they are told to, in the order in which they came', () => expectNoLeak(async () => {
    const order: number[] = [];
    const request = (seed: number) => text.generate('a star', { ...common, whenBusy: 'wait', generator: seeded(seed), numInferenceSteps: 2 })
      .finally(() => order.push(seed));
    const seeds = [0, 1, 2, 3];
    const together = (await Promise.all(seeds.map(request))).map(({ images }) => images);
    assert.deepEqual(order, seeds);
    const alone: tf.Tensor[] = [];
    for (const seed of seeds) alone.push((await request(seed)).images);
    together.forEach((latents, i) => assert.deepEqual(latents.dataSync(), alone[i].dataSync()));
    return [...together, ...alone];
  }));

  it('wait for a change of their networks, and for work that fails', () => expectNoLeak(async () => {
    const change = img2img.to(device);
    const failing = text.generate('a star', { ...common, whenBusy: 'wait', numInferenceSteps: 1, callbackOnStepEnd: () => { throw new Error('no'); } });
    const last = text.generate('a star', { ...common, whenBusy: 'wait', numInferenceSteps: 1 });
    await assert.rejects(failing, /^Error: no$/);
    await change;
    return [(await last).images];
  }));

  it('end their waiting when they are aborted, and nobody else\'s', () => expectNoLeak(async () => {
    const controller = new AbortController();
    const first = text.generate('a star', { ...common, numInferenceSteps: 2 });
    const second = text.generate('a star', { ...common, whenBusy: 'wait', signal: controller.signal });
    const third = text.generate('a star', { ...common, whenBusy: 'wait', numInferenceSteps: 1 });
    controller.abort(new Error('gone'));
    await assert.rejects(second, /^Error: gone$/);
    await assert.rejects(text.generate('a star', common), /whenBusy: 'wait'/);
    return [(await first).images, (await third).images];
  }));
});
