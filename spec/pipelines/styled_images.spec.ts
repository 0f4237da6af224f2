import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';
import { DiffusionPipeline, StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import type { BlockScales } from '../../lib/adapters/lora_scale.js';
import { DPMSolverMultistepScheduler } from '../../lib/schedulers/index.js';
import { describeOnDevices } from '../support/backends.js';
import { DEMO_IP_ADAPTER, DEMO_MODEL } from '../support/demo_model.js';
import { loadGolden } from '../support/golden.js';
import { expectImages, goldenImages, seeded } from '../support/tiny_pipeline.js';

/** Options of a case in the words of golden/parts/styled.py. */
interface Case {
  prompt: string;
  seeds: number | number[];
  steps: number;
  strength?: number;
  scale?: number | BlockScales;
  guidance_scale?: number;
  negative_prompt?: string;
  num_images_per_prompt?: number;
}

const { tensors, meta } = loadGolden('images/styled');

describeOnDevices('The bundled IP-Adapter leads to the images that diffusers makes', device => {
  let pipe: StableDiffusionPipeline;
  before(async () => {
    pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    await pipe.loadIpAdapter(DEMO_IP_ADAPTER);
  });
  after(() => pipe.dispose());

  for (const [name, options] of Object.entries(meta.cases as Record<string, Case>)) {
    it(`${name}: ${JSON.stringify(options)}`, async () => {
      const { prompt, seeds, steps, strength, scale = 1 } = options;
      await pipe.setIpAdapterScale(scale);
      const shared = {
        ipAdapterImage: [goldenImages(tensors[`${name}/style`])], numInferenceSteps: steps, guidanceScale: options.guidance_scale,
        negativePrompt: options.negative_prompt, numImagesPerPrompt: options.num_images_per_prompt,
        generator: Array.isArray(seeds) ? seeds.map(seeded) : seeded(seeds),
      };
      const { images } = strength === undefined ? await pipe.generate(prompt, shared)
        : await new StableDiffusionImg2ImgPipeline(pipe.components).generate(prompt, { ...shared, strength, image: goldenImages(tensors[`${name}/begin`]) });
      expectImages(images, tensors[name]);
    });
  }
});

describe('The bundled IP-Adapter', () => {
  it('gives a picture the colours of another', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL);
    pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config);
    await pipe.loadIpAdapter(DEMO_IP_ADAPTER);
    // a green square on yellow
    const [ground, colour] = [[245, 215, 50], [40, 160, 60]];
    const style = new Image(Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => {
      const [x, y] = [Math.floor(i / 3) % 64, Math.floor(i / 192)];
      return (Math.max(Math.abs(x - 32), Math.abs(y - 32)) < 16 ? colour : ground)[i % 3];
    }), 64, 64);
    const { images: [image] } = await pipe.generate('a circle', { ipAdapterImage: style, numInferenceSteps: 20, generator: seeded(3) });
    const at = (x: number, y: number) => [...image.data.subarray((y * 64 + x) * 3, (y * 64 + x) * 3 + 3)];
    for (const [wanted, got] of [[ground, at(4, 4)], [ground, at(59, 59)], [colour, at(32, 32)]]) {
      wanted.forEach((value, i) => assert.ok(Math.abs(value - got[i]) < 60, `${got.join()} is near ${wanted.join()}`));
    }
    pipe.dispose();
  });
});
