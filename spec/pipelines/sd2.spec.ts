import assert from 'node:assert/strict';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { commonOptions, type PipelineCase } from '../support/tiny_pipeline.js';

const close = { atol: 5e-4, rtol: 5e-4 };

describeOnDevices('A pipeline as Stable Diffusion 2.1 equals diffusers', device => {
  const { tensors, meta } = loadGolden('pipelines/sd2');
  let pipe: StableDiffusionPipeline;
  let ownScheduler: StableDiffusionPipeline['scheduler'];
  before(async () => {
    pipe = await DiffusionPipeline.fromPretrained('spec/golden/pipelines/tiny_sd2', { device });
    ownScheduler = pipe.scheduler;
  });
  after(() => pipe.dispose());

  it('predicts velocities, and pads with another token than the end', () => {
    assert.equal(pipe.scheduler.config.prediction_type, 'v_prediction');
    assert.notEqual(pipe.tokenizer.padTokenId, pipe.tokenizer.eosTokenId);
  });

  for (const [name, [prompt, options]] of Object.entries(meta.cases as Record<string, [string | string[], PipelineCase]>)) {
    it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const [scheduler, overrides] = options.scheduler ?? ['PNDMScheduler', {}];
      pipe.scheduler = schedulerClass(scheduler).fromConfig(ownScheduler.config, overrides);
      const { images } = await pipe.generate(prompt, commonOptions(options));
      expectClose(images, tensors[name], close);
      return images;
    }));
  }
});
