import type * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { LatentsPreview } from '../../lib/pipelines/run/latents_preview.js';
import { AutoencoderTiny } from '../../lib/models/autoencoder_tiny.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenImages, seeded, TINY } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

/** In the words of golden/parts/approximations.py. */
interface Case {
  seed: number;
  num_inference_steps: number;
  scheduler?: string;
  strength?: number;
  guidance_scale?: number;
}

const close = { atol: 5e-4, rtol: 5e-4 };

describeOnDevices('Approximations in a pipeline', device => {
  const { tensors, meta } = loadGolden('pipelines/approximations');
  const cases = meta.cases as Record<string, [prompt: string, Case]>;
  let tiny: StableDiffusionPipeline;
  before(async () => { tiny = await DiffusionPipeline.fromPretrained(TINY, { device, compile: false }); });
  after(() => tiny.dispose());

  const pipeOf = ({ scheduler, strength }: Case) => {
    const parts = { ...tiny.components, ...scheduler && { scheduler: schedulerClass(scheduler).fromConfig(tiny.scheduler.config) } };
    return strength === undefined ? new StableDiffusionPipeline(parts) : new StableDiffusionImg2ImgPipeline(parts);
  };
  const draw = async (pipe: StableDiffusionPipeline, name: string, more: { guidanceStop?: number } = {}) => {
    const [prompt, { seed, num_inference_steps: numInferenceSteps, strength, guidance_scale: guidanceScale }] = cases[name];
    const options = { numInferenceSteps, guidanceScale, generator: seeded(seed), outputType: 'latent' as const, ...more };
    const { images } = pipe instanceof StableDiffusionImg2ImgPipeline
      ? await pipe.generate(prompt, { ...options, strength, image: goldenImages(tensors.image) })
      : await pipe.generate(prompt, options);
    return images;
  };

  for (const [name, [, options]] of Object.entries(cases)) {
    it(`DeepCache: ${name}, as Python's`, () => expectNoLeak(async () => {
      const pipe = pipeOf(options);
      pipe.enableDeepCache({ cacheInterval: 3, cacheBranchId: 0 });
      const latents = await draw(pipe, name);
      expectClose(latents, tensors[`${name}/deep_cache`], close);
      pipe.disableDeepCache();
      const full = await draw(pipe, name);
      assert.throws(() => expectClose(full, tensors[`${name}/deep_cache`], close), /worst at/);
      return [latents, full];
    }));
    if (!tensors[`${name}/guidance_stop`]) continue;
    it(`guidance that stops: ${name}, as diffusers with a callback`, () => expectNoLeak(async () => {
      const pipe = pipeOf(options);
      const latents = await draw(pipe, name, { guidanceStop: 3.5 / meta.calls[name] });
      expectClose(latents, tensors[`${name}/guidance_stop`], close);
      return latents;
    }));
  }

  it('come together: guidance that stops between full steps, compiled, in slices, interrupted', () => expectNoLeak(async () => {
    const pipe = new StableDiffusionPipeline({ ...tiny.components, unet: await UNet2DConditionModel.fromPretrained(TINY) });
    const pictures: tf.Tensor[] = [];
    pipe.enableDeepCache();
    pipe.enableTokenMerging({ maxDownsample: 2 });
    pictures.push(await draw(pipe, 'pndm', { guidanceStop: 0.5 }));
    await captureWarnings(() => pipe.compile()); // where there are no graphs
    for (const slice of [false, true]) {
      if (slice) pipe.enableAttentionSlicing('max');
      const latents = await draw(pipe, 'pndm', { guidanceStop: 0.5 });
      expectClose(latents, { shape: pictures[0].shape, data: pictures[0].dataSync() }, close);
      pictures.push(latents);
    }
    const { images } = await pipe.generate('a star', {
      numInferenceSteps: 9, outputType: 'latent', callbackOnStepEnd: (each, step) => { each.interrupt = step === 1; },
    });
    pipe.unet.dispose();
    return [...pictures, images];
  }));

  it('off again, change nothing', () => expectNoLeak(async () => {
    const pipe = pipeOf(cases.pndm[1]);
    const expected = await draw(pipe, 'pndm');
    pipe.enableDeepCache({ cacheInterval: 2 });
    pipe.enableTokenMerging();
    pipe.disableDeepCache();
    pipe.disableTokenMerging();
    const latents = await draw(pipe, 'pndm', { guidanceStop: 1 });
    assert.deepEqual(latents.dataSync(), expected.dataSync());
    return [expected, latents];
  }));

  it('decode and encode by a tiny autoencoder', () => expectNoLeak(async () => {
    const config = { encoder_block_out_channels: [8, 8], decoder_block_out_channels: [8, 8], num_encoder_blocks: [1, 1], num_decoder_blocks: [1, 1] };
    const vae = new AutoencoderTiny(config);
    const pipe = new StableDiffusionPipeline({ ...tiny.components, vae });
    pipe.enableVaeSlicing();
    const { images } = await pipe.generate('a star', { numInferenceSteps: 2, numImagesPerPrompt: 2 });
    assert.deepEqual([images.length, images[0].width, images[0].height], [2, 16, 16]);
    const img2img = new StableDiffusionImg2ImgPipeline(pipe.components);
    const { images: [changed] } = await img2img.generate('a star', { image: images[0], numInferenceSteps: 2 });
    assert.equal(changed.width, 16);
    const preview = await LatentsPreview.fit(vae);
    preview.dispose();
    assert.throws(() => pipe.enableVaeTiling(), /AutoencoderTiny: has no tiles/);
    vae.dispose();
    return [];
  }));

  it('refuse what does not fit', async () => {
    assert.throws(() => tiny.enableDeepCache({ cacheInterval: 0 }), /cacheInterval: got 0, takes a whole number, 1 or more/);
    assert.throws(() => tiny.enableDeepCache({ cacheBranchId: 4 }), /cacheBranchId: got 4, takes a whole number, from 0 to 3/);
    await assert.rejects(tiny.generate('a star', { guidanceStop: 1.5 }), /guidanceStop: got 1.5, takes a number from 0 to 1/);
  });
});
