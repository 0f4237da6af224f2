import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { describeOnDevices } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';

/** In short; `npm run bench -- leaks` makes hundreds, and looks at resident memory too. */
describeOnDevices('many pictures in one process', device => {
  const load = async (compiled: boolean): Promise<StableDiffusionPipeline> => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    pipe.setProgressBarConfig({ disable: true });
    if (compiled) pipe.compile();
    return pipe;
  };
  const draw = (pipe: StableDiffusionPipeline, seed: number) =>
    pipe.generate('a red star', { numInferenceSteps: 3, generator: new Generator().manualSeed(seed) });
  const held = () => {
    const { numTensors, numDataBuffers, numBytes } = tf.memory();
    return { numTensors, numDataBuffers, numBytes };
  };

  before(() => load(false).then(pipe => pipe.dispose())); // what the process keeps for good

  for (const compiled of [false, true]) {
    if (compiled && device === 'wasm') continue; // has no graphs
    const how = compiled ? ', compiled' : '';

    it(`leave nothing behind${how}`, async () => {
      const pipe = await load(compiled);
      await draw(pipe, 0);
      const after = held();
      for (let seed = 1; seed < 12; seed++) {
        await draw(pipe, seed);
        assert.deepEqual(held(), after, `after picture ${seed + 1}`);
      }
      pipe.dispose();
    });

    it(`nor do pipelines that come and go${how}`, async () => {
      const before = held();
      for (let i = 0; i < 3; i++) {
        const pipe = await load(compiled);
        await draw(pipe, i);
        pipe.dispose();
        assert.deepEqual(held(), before, `after pipeline ${i + 1}`);
      }
    });
  }
});
