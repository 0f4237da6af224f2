import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { DDIMScheduler, schedulerClasses } from '../../lib/schedulers/index.js';
import { describeOnDevices } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { countTraffic, type Traffic } from '../support/traffic.js';

/** Most of a GPU's time would go into waiting for small things: these are bounds a little above what was counted. */
const STEP: Record<string, Pick<Traffic, 'kernels' | 'uploads'>> = {
  tensorflow: { kernels: 1400, uploads: 66 },
  wasm: { kernels: 1460, uploads: 70 },
};
const COMPILED_STEP = { kernels: 20, uploads: 12 };
const SCHEDULER_STEP = { kernels: 17, uploads: 9 };
const STEPS = 4;

describeOnDevices('traffic with the device', device => {
  describe('of a whole picture', () => {
    let pipe: StableDiffusionPipeline;
    let embeds: tf.Tensor;

    before(async () => {
      pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
      pipe.scheduler = DDIMScheduler.fromConfig(pipe.scheduler.config);
      pipe.setProgressBarConfig({ disable: true });
      embeds = tf.zeros([1, 77, 128]);
    });
    after(() => {
      pipe.dispose();
      embeds.dispose();
    });

    /** Draws, and gives the traffic of all of it and of each step but the first. */
    async function draw(outputType: 'image' | 'latent'): Promise<{ all: Traffic; steps: Traffic[] }> {
      const ends: Traffic[] = [];
      const all = await countTraffic(async traffic => {
        const { images } = await pipe.generate(undefined, {
          promptEmbeds: embeds, negativePromptEmbeds: embeds, numInferenceSteps: STEPS, generator: new Generator().manualSeed(0), outputType,
          callbackOnStepEnd: () => { ends.push({ ...traffic }); },
        });
        if (images instanceof tf.Tensor) images.dispose();
      });
      const between = (now: Traffic, { kernels, uploads, reads }: Traffic) =>
        ({ kernels: now.kernels - kernels, uploads: now.uploads - uploads, reads: now.reads - reads });
      return { all, steps: ends.slice(1).map((end, i) => between(end, ends[i])) };
    }

    it('reads nothing back but the picture', async () => {
      assert.equal((await draw('latent')).all.reads, 0);
      assert.equal((await draw('image')).all.reads, 1);
    });

    it('bounds the kernels and the uploads of a step', async () => {
      const { steps } = await draw('latent');
      assert.equal(steps.length, STEPS - 1);
      for (const step of steps) expectWithin(step, STEP[tf.getBackend()]);
    });

    if (device !== 'wasm') it('is next to nothing when compiled', async () => { // WASM has no graphs
      pipe.compile();
      await draw('latent'); // records
      const { all, steps } = await draw('latent');
      assert.equal(all.reads, 0);
      for (const step of steps) expectWithin(step, COMPILED_STEP);
    });
  });

  for (const [name, Scheduler] of Object.entries(schedulerClasses)) {
    it(`of a step of ${name}: no reads, few constants`, async () => {
      const scheduler = new Scheduler({});
      const generator = new Generator().manualSeed(0);
      scheduler.setTimesteps(6);
      let sample: tf.Tensor = tf.ones([1, 8, 8, 4]);
      for (const timestep of scheduler.timesteps) {
        const step = await countTraffic(() => {
          const next = tf.tidy(() => {
            const output = tf.neg(scheduler.scaleModelInput(sample, timestep)); // a kernel that is not the scheduler's
            return scheduler.step(output, timestep, sample, { generator, eta: 1 }).prevSample;
          });
          sample.dispose();
          sample = next;
        });
        assert.equal(step.reads, 0);
        expectWithin(step, SCHEDULER_STEP);
      }
      sample.dispose();
      scheduler.dispose();
    });
  }
});

function expectWithin({ kernels, uploads }: Traffic, bound: Pick<Traffic, 'kernels' | 'uploads'>): void {
  assert.ok(kernels <= bound.kernels, `${kernels} kernels, ${bound.kernels} are allowed`);
  assert.ok(uploads <= bound.uploads, `${uploads} uploads, ${bound.uploads} are allowed`);
}
