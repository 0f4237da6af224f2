import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenImages, seeded, TINY } from '../support/tiny_pipeline.js';

/** In the words of golden/parts/text2img.py. */
interface Case {
  seeds: number;
  scheduler?: string;
  num_inference_steps?: number;
  timesteps?: number[];
  sigmas?: number[];
  strength?: number;
  output_type?: 'pt';
  swap?: string[];
}

describeOnDevices('Lists of steps, and parts of another model, as in diffusers:', device => {
  const { tensors, meta } = loadGolden('pipelines/text2img');
  const pipes: StableDiffusionPipeline[] = [];
  before(async () => {
    for (const folder of [TINY, 'spec/golden/pipelines/tiny_sd2']) pipes.push(await DiffusionPipeline.fromPretrained(folder, { device }));
  });
  after(() => pipes.forEach(pipe => pipe.dispose()));

  for (const [name, [prompt, options]] of Object.entries(meta.cases as Record<string, [string, Case]>)) {
    it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const [{ components: own }, { components: other }] = pipes;
      const swapped = Object.entries({ vae: 'vae', unet: 'unet', text_encoder: 'textEncoder', tokenizer: 'tokenizer', scheduler: 'scheduler' } as const)
        .filter(([part]) => options.swap?.includes(part)).map(([, part]) => [part, other[part]]);
      const scheduler = options.scheduler ? schedulerClass(options.scheduler).fromConfig(own.scheduler.config) : own.scheduler;
      const parts = { ...own, scheduler, ...Object.fromEntries(swapped) };
      const { num_inference_steps: numInferenceSteps, timesteps, sigmas, strength } = options;
      const given = tensors[`${name}/image`];
      const common = {
        numInferenceSteps, timesteps, sigmas, generator: seeded(options.seeds), outputType: options.output_type ? 'tensor' as const : 'latent' as const,
      };
      const mask = tensors[`${name}/mask`];
      const image = given && goldenImages(given);
      const { images } = mask
        ? await new StableDiffusionInpaintPipeline(parts).generate(prompt, { ...common, image, maskImage: goldenImages(mask), strength })
        : given
        ? await new StableDiffusionImg2ImgPipeline(parts).generate(prompt, { ...common, image, strength })
        : await new StableDiffusionPipeline(parts).generate(prompt, common);
      expectClose(images, tensors[`${name}/out`], { atol: 5e-4, rtol: 5e-4 });
      return images;
    }));
  }
});
