import assert from 'node:assert/strict';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { GenerateOutput } from '../../lib/pipelines/inputs/generate_options.js';
import { LatentConsistencyModelPipeline } from '../../lib/pipelines/latent_consistency_models/latent_consistency_model.js';
import { LatentConsistencyModelImg2ImgPipeline } from '../../lib/pipelines/latent_consistency_models/latent_consistency_model_img2img.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { LCMScheduler, schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { commonOptions, goldenImages, TINY, type PipelineCase } from '../support/tiny_pipeline.js';

const classes = {
  StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline,
} as const;

/** In the words of golden/parts/lcm.py. */
interface Case extends Omit<PipelineCase, 'steps'> {
  num_inference_steps?: number;
  timesteps?: number[];
  original_inference_steps?: number;
  output_type?: 'pt';
}

describeOnDevices('A model that knows its guidance, as in diffusers:', device => {
  const { tensors, meta } = loadGolden('pipelines/lcm');
  let pipe: StableDiffusionPipeline;
  before(async () => {
    const unet = await UNet2DConditionModel.fromPretrained('spec/golden/pipelines/unet_lcm');
    pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device, unet });
  });
  after(() => pipe.dispose());

  for (const [name, [className, scheduler, prompt, options]] of Object.entries(meta.cases as Record<string, [keyof typeof classes, string, string | string[], Case]>)) {
    it(`${name}: ${className}, ${scheduler}, ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const made = new classes[className]({ ...pipe.components, scheduler: schedulerClass(scheduler).fromConfig(pipe.scheduler.config) });
      const [image, maskImage] = ['image', 'mask'].map(input => tensors[`${name}/${input}`] && goldenImages(tensors[`${name}/${input}`])[0]);
      const { num_inference_steps: steps, timesteps, strength, height, width, original_inference_steps: originalInferenceSteps } = options;
      const given = { ...commonOptions({ ...options, steps: steps as number }), timesteps, strength, height, width, originalInferenceSteps, image, maskImage };
      const { images } = await made.generate(prompt, { ...given, outputType: options.output_type ? 'tensor' : 'latent' } as never) as unknown as GenerateOutput<'tensor'>;
      expectClose(images, tensors[`${name}/out`], { atol: 5e-4, rtol: 5e-4 });
      return images;
    }));
  }

  it('refuses what a latent consistency model has not', async () => {
    const scheduler = LCMScheduler.fromConfig(pipe.scheduler.config);
    const lcm = new LatentConsistencyModelPipeline({ ...pipe.components, scheduler });
    await assert.rejects(lcm.generate('a star', { negativePrompt: 'red' } as never), /generate: there is no option 'negativePrompt'; takes numInferenceSteps, timesteps,/);
    await assert.rejects(lcm.generate('a star', { numInferenceSteps: 60 }), /LCMScheduler numInferenceSteps: got 60, takes at most the 50 original steps/);
    await assert.rejects(new LatentConsistencyModelPipeline(pipe.components).generate('a star'), /scheduler: got PNDMScheduler, takes LCMScheduler; StableDiffusionPipeline takes others$/);
    const plain = await DiffusionPipeline.fromPretrained(TINY, { device });
    await assert.rejects(new LatentConsistencyModelPipeline({ ...plain.components, scheduler }).generate('a star'), /unet: time_cond_proj_dim: got null, takes a model distilled with guidance; StableDiffusionPipeline runs others/);
    const unet = new UNet2DConditionModel({ ...plain.unet.config, num_class_embeds: 4 });
    await assert.rejects(new StableDiffusionPipeline({ ...plain.components, unet }).generate('a star'), /unet: num_class_embeds: got 4, takes null: this pipeline has no classes to tell the unet$/);
    plain.dispose();
  });

  it('leaves the configs as they are', () => {
    const scheduler = new LCMScheduler({ clip_sample: true });
    const unet = new UNet2DConditionModel({ ...pipe.unet.config, sample_size: 32, _diffusers_version: '0.6.0' });
    const made = new LatentConsistencyModelPipeline({ ...pipe.components, scheduler, unet });
    assert.equal(made.scheduler, scheduler);
    assert.deepEqual([scheduler.config.clip_sample, unet.config.sample_size, made.defaultSampleSize], [true, 32, 32]);
  });
});
