import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import type { Image } from '../../lib/image/image.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { GenerateOptions } from '../../lib/pipelines/inputs/generate_options.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices } from '../support/backends.js';
import { expectClose, type Values } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { captureWarnings } from '../support/warnings.js';

/** Options of a case in the words of golden/parts/images.py. */
interface Case {
  seeds?: number | number[];
  steps?: number;
  scheduler?: [name: string, overrides: object];
  height?: number;
  width?: number;
  guidance_scale?: number;
  guidance_rescale?: number;
  negative_prompt?: string | string[];
  num_images_per_prompt?: number;
  clip_skip?: number;
  eta?: number;
}

const { tensors, meta } = loadGolden('images/images');
const cases = Object.entries(meta.cases as Record<string, [prompt: string | string[], options: Case]>);
const seeded = (seed: number) => new Generator('cpu').manualSeed(seed);

describeOnDevices('StableDiffusionPipeline makes the images that diffusers makes', device => {
  let pipe: StableDiffusionPipeline;
  let ownScheduler: StableDiffusionPipeline['scheduler'];
  before(async () => {
    pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    pipe.setProgressBarConfig({ disable: true }); // which tells of what is compiled, too
    ownScheduler = pipe.scheduler;
  });
  after(() => pipe.dispose());

  const given = (name: string): tf.Tensor | undefined => name in tensors ? tensor(tensors[name]) : undefined;

  for (const [name, [prompt, options]] of cases) {
    it(`${name}: ${JSON.stringify(options)}`, async () => {
      const [scheduler, overrides] = options.scheduler ?? ['PNDMScheduler', {}];
      pipe.scheduler = schedulerClass(scheduler).fromConfig(ownScheduler.config, overrides);
      const latents = given(`${name}.latents`);
      const promptEmbeds = given(`${name}.promptEmbeds`);
      const negativePromptEmbeds = given(`${name}.negativePromptEmbeds`);
      let images: Image[] = [];
      const warnings = await captureWarnings(async () => ({ images } = await pipe.generate(promptEmbeds ? undefined : prompt, {
        latents, promptEmbeds, negativePromptEmbeds,
        generator: Array.isArray(options.seeds) ? options.seeds.map(seeded) : options.seeds === undefined ? undefined : seeded(options.seeds),
        numInferenceSteps: options.steps,
        height: options.height,
        width: options.width,
        guidanceScale: options.guidance_scale,
        guidanceRescale: options.guidance_rescale,
        negativePrompt: options.negative_prompt,
        numImagesPerPrompt: options.num_images_per_prompt,
        clipSkip: options.clip_skip,
        eta: options.eta,
      })));
      assert.equal(warnings.length, name === 'long_prompt' ? 1 : 0);
      const [{ height, width }] = images;
      expectClose(
        { shape: [images.length, height, width, 3], data: images.flatMap(image => [...image.data]) }, tensors[name], { atol: 2, rtol: 0 });
      tf.dispose([latents, promptEmbeds, negativePromptEmbeds].filter(each => each !== undefined));
    });
  }

  for (const [outputType, golden] of [['latent', 'output.latent'], ['tensor', 'output.pt']] as const) {
    it(`gives the ${outputType} as a tensor`, async () => {
      pipe.scheduler = ownScheduler;
      const { images } = await pipe.generate(cases[0][1][0], { numInferenceSteps: 4, generator: seeded(31), outputType } as GenerateOptions<'tensor'>);
      expectClose(images, tensors[golden], { atol: 2e-3 });
      images.dispose();
    });
  }
});

function tensor({ data, shape }: Values): tf.Tensor {
  return tf.tensor(data as Float32Array, [...shape]);
}
