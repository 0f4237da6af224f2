import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import type { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { EulerDiscreteScheduler } from '../../lib/schedulers/index.js';
import { createWorkerPipeline, type WorkerPipeline } from '../../lib/worker/worker_pipeline.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';

describeOnDevices('A pipeline in a worker', device => {
  let here: StableDiffusionPipeline;
  let there: WorkerPipeline;
  before(async () => {
    here = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    here.setProgressBarConfig({ disable: true });
    there = await createWorkerPipeline(TINY, { device });
    await there.setProgressBarConfig({ disable: true });
  });
  after(async () => {
    here.dispose();
    await there.dispose();
  });

  it('makes the pictures that it makes without, one after the other, while the process goes on', () => expectNoLeak(async () => {
    const draw = async (pipe: Pick<StableDiffusionPipeline, 'generate'>) => {
      const generator = seeded(3);
      const results: Image[] = [];
      for (const prompt of ['a star', 'a road']) results.push(...(await pipe.generate(prompt, { generator, numInferenceSteps: 3 })).images);
      return results;
    };
    let turns = 0;
    const timer = setInterval(() => { turns++; }, 5);
    const pictures = await draw(there).finally(() => clearInterval(timer));
    assert.ok(turns > 0);
    const expected = await draw(here);
    pictures.forEach((picture, i) => {
      assert.ok(picture instanceof Image);
      assert.deepEqual([picture.data, picture.text], [expected[i].data, expected[i].text]);
    });
    return [];
  }));

  it('ends with the step where a callback interrupts it', async () => {
    const steps: number[] = [];
    const made = await there.generate('a star', {
      numInferenceSteps: 6, generator: seeded(1),
      callbackOnStepEnd: (pipe, step, _, { numTimesteps }) => {
        steps.push(step, numTimesteps);
        if (step === 1) pipe.interrupt = true;
      },
    });
    assert.deepEqual(steps, [0, 7, 1, 7]); // PNDM takes one step twice
    const expected = await here.generate('a star', { numInferenceSteps: 6, generator: seeded(1), callbackOnStepEnd: (pipe, step) => { pipe.interrupt = step === 1; } });
    assert.deepEqual(made.images[0].data, expected.images[0].data);
    assert.throws(() => { (there as unknown as StableDiffusionPipeline).scheduler = here.scheduler; }, /^TypeError: scheduler: is in the worker, cannot be set; there is setScheduler$/);
  });

  it('takes and gives tensors, and calls back with them', () => expectNoLeak(async () => {
    const latents = tf.randomNormal([1, 8, 8, here.vae.config.latent_channels], 0, 1, 'float32', 1);
    const options = (seen: number[]) => ({
      latents, outputType: 'latent' as const, numInferenceSteps: 3, generator: seeded(1),
      callbackOnStepEnd: (_: object, step: number, timestep: number, state: { latents: tf.Tensor }) => {
        seen.push(step, timestep, state.latents.size);
        return step === 1 ? { latents: state.latents.mul(0.5) } : undefined;
      },
    });
    const [seenHere, seenThere]: number[][] = [[], []];
    const { images: expected } = await here.generate('a star', options(seenHere));
    const { images } = await there.generate('a star', options(seenThere));
    assert.deepEqual(seenThere, seenHere);
    expectClose(images, { shape: expected.shape, data: expected.dataSync() }, { atol: 1e-6, rtol: 1e-6 });
    latents.dispose();
    return [images, expected];
  }));

  it('takes a scheduler, and is another pipeline of the same networks', () => expectNoLeak(async () => {
    const before = await there.getScheduler();
    const scheduler = EulerDiscreteScheduler.fromConfig(before.config, { use_karras_sigmas: true });
    await there.setScheduler(scheduler);
    assert.deepEqual((await there.getScheduler()).config, scheduler.config);
    const img2img = await there.as<StableDiffusionImg2ImgPipeline>('StableDiffusionImg2ImgPipeline');
    await img2img.setProgressBarConfig({ disable: true });
    const image = new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => i * 5), 16, 16);
    const { images: [picture] } = await img2img.generate('a road', { image, numInferenceSteps: 3, generator: seeded(1) });
    assert.match(picture.text.parameters, /Euler/);
    await there.setScheduler(before);
    return [];
  }));

  it('is aborted with the reason, also before it begins, and goes on after it', async () => {
    const controller = new AbortController();
    const reason = new Error('gone');
    const work = there.generate('a star', { signal: controller.signal, callbackOnStepEnd: () => controller.abort(reason) });
    await assert.rejects(work, error => error === reason);
    await assert.rejects(there.generate('a star', { signal: controller.signal }), error => error === reason);
    assert.equal((await there.generate('a star', { numInferenceSteps: 1 })).images.length, 1);
  });

  it('throws what it throws without', async () => {
    await assert.rejects(there.generate('a star', { numInferenceSteps: 0 }), { name: 'RangeError', message: /numInferenceSteps: got 0/ });
    await assert.rejects(there.generate('a star', { numInferenceSteps: 2, callbackOnStepEnd: () => { throw new Error('not this'); } }), /^Error: not this$/);
    await assert.rejects((there as unknown as Record<string, () => Promise<void>>).paint(), /^TypeError: StableDiffusionPipeline: has no method paint$/);
  });

  it('takes turns where it is told to', async () => {
    const order: number[] = [];
    const draw = (i: number) => there.generate('a star', { numInferenceSteps: 1, whenBusy: 'wait' }).then(() => order.push(i));
    await Promise.all([0, 1, 2].map(draw));
    assert.deepEqual(order, [0, 1, 2]);
    const first = there.generate('a star', { numInferenceSteps: 2 });
    await assert.rejects(there.generate('a star'), /at work already/);
    await first;
  });
});

describe('createWorkerPipeline', () => {
  it('tells of progress, and what is wrong with a model', async () => {
    const stages = new Set<string>();
    const progressCallback = (progress: { stage: string }) => { stages.add(progress.stage); };
    const pipe = await createWorkerPipeline(TINY, { device: 'wasm', progressCallback, pipeline: 'StableDiffusionInpaintPipeline' });
    assert.deepEqual([...stages], ['load']);
    await pipe.dispose();
    await assert.rejects(createWorkerPipeline('none/at/all', { device: 'wasm' }), { name: 'ModelFileError' });
    await assert.rejects(createWorkerPipeline(TINY, { device: 'wasm', pipeline: 'Nothing' }), /pipeline: got 'Nothing', takes .*'StableDiffusionPipeline'/);
  });

  it('rejects what is under way when it is disposed of', async () => {
    const pipe = await createWorkerPipeline(TINY, { device: 'wasm' });
    const work = pipe.generate('a star', { numInferenceSteps: 500, callbackOnStepEnd: () => { void pipe.dispose(); } });
    await assert.rejects(work, /createWorkerPipeline: the worker has ended/);
    await assert.rejects(pipe.generate('a star'), /createWorkerPipeline: the worker has ended/);
  });
});
