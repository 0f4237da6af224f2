import assert from 'node:assert/strict';
import type * as tf from '@tensorflow/tfjs';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { AutoPipelineForImage2Image, DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline } from '../../lib/pipelines/index.js';
import { schedulerClass, type Scheduler } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenImages, seeded, TINY_XL } from '../support/tiny_pipeline.js';
import { goldenTensor } from '../support/weights.js';

/** In the words of golden/parts/few_steps.py. */
interface Case {
  sd?: boolean;
  seed: number;
  scheduler: [name: string, overrides: object];
  lora?: number;
  lcm?: boolean;
  spread?: boolean;
  num_inference_steps?: number;
  timesteps?: number[];
  strength?: number;
  guidance_scale: number;
  eta?: number;
  negative_prompt?: string;
}

describeOnDevices('The recipes of models that take few steps, and of Playground, as in diffusers:', device => {
  const golden = loadGolden('pipelines/few_steps');
  let xl: StableDiffusionXLPipeline;
  let sd: StableDiffusionPipeline;
  let lcm: UNet2DConditionModel;
  let spread: AutoencoderKL;
  before(async () => {
    xl = await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device });
    sd = await DiffusionPipeline.fromPretrained('spec/golden/pipelines/tiny_sd2', { device });
    lcm = new UNet2DConditionModel({ ...xl.unet.config, time_cond_proj_dim: 10 });
    for (const path of xl.unet.parameterSpecs().keys()) lcm.setParameter(path, xl.unet.getParameter(path).clone());
    const weight = goldenTensor(golden, 'cond_proj');
    lcm.setParameter('time_embedding.cond_proj.weight', weight.transpose());
    weight.dispose();
    const vae = xl.vae as AutoencoderKL;
    spread = new AutoencoderKL({ ...vae.config, ...golden.meta.spread });
    for (const path of vae.parameterSpecs().keys()) spread.setParameter(path, vae.getParameter(path).clone());
  });
  after(() => [xl, sd, lcm, spread].forEach(each => { each.dispose(); }));

  /** EDM's schedulers do not take the config of others. */
  const schedulerOf = (own: Scheduler, [name, overrides]: Case['scheduler']): Scheduler => {
    const Class = schedulerClass(name);
    return name.startsWith('EDM') ? new Class(overrides) : Class.fromConfig(own.config, overrides);
  };

  for (const [name, [prompt, options]] of Object.entries(golden.meta.cases as Record<string, [string, Case]>)) {
    it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const own = options.sd ? sd : xl;
      const changes = { scheduler: schedulerOf(own.scheduler, options.scheduler), ...options.lcm && { unet: lcm }, ...options.spread && { vae: spread } };
      const given = golden.tensors[`${name}/image`];
      const { num_inference_steps: numInferenceSteps, guidance_scale: guidanceScale, timesteps, strength, eta, negative_prompt: negativePrompt } = options;
      const common = { numInferenceSteps, timesteps, guidanceScale, eta, negativePrompt, generator: seeded(options.seed), outputType: 'tensor' } as const;
      if (options.lora !== undefined) {
        await xl.loadLoraWeights('spec/golden/lora/xl_kohya.safetensors');
        await xl.fuseLora({ loraScale: options.lora });
      }
      let images: tf.Tensor;
      if (given) {
        ({ images } = await AutoPipelineForImage2Image.fromPipe(own, changes).generate(prompt, { ...common, image: goldenImages(given), strength }));
      } else if (options.sd) {
        ({ images } = await new StableDiffusionPipeline({ ...sd.components, ...changes }).generate(prompt, common));
      } else {
        ({ images } = await new StableDiffusionXLPipeline({ ...xl.components, ...changes }).generate(prompt, common));
      }
      if (options.lora !== undefined) {
        await xl.unfuseLora();
        await xl.unloadLoraWeights();
      }
      assert.ok(images.shape[3] === 3);
      expectClose(images, golden.tensors[`${name}/out`], { atol: 1 / 255, rtol: 0 });
      return images;
    }));
  }
});
