import { ControlNetModel } from '../../lib/models/controlnet.js';
import { DiffusionPipeline, StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { describeOnDevices } from '../support/backends.js';
import { DEMO_CONTROLNET, DEMO_MODEL } from '../support/demo_model.js';
import { loadGolden } from '../support/golden.js';
import { expectImages, goldenImages, seeded } from '../support/tiny_pipeline.js';

/** Options of a case in the words of golden/parts/steered.py. */
interface Case {
  prompts: string[];
  seeds: number | number[];
  steps: number;
  strength?: number;
  scale?: number;
  end?: number;
  guess_mode?: boolean;
  guidance_scale?: number;
}

const { tensors, meta } = loadGolden('images/steered');

describeOnDevices('The bundled ControlNet steers to the images that diffusers makes', device => {
  let pipe: StableDiffusionPipeline;
  let controlnet: ControlNetModel;
  before(async () => {
    pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    controlnet = await ControlNetModel.fromPretrained(DEMO_CONTROLNET);
  });
  after(() => {
    pipe.dispose();
    controlnet.dispose();
  });

  for (const [name, options] of Object.entries(meta.cases as Record<string, Case>)) {
    it(`${name}: ${JSON.stringify(options)}`, async () => {
      const { prompts, seeds, steps, strength, scale, end, guess_mode: guessMode, guidance_scale: guidanceScale } = options;
      const components = { ...pipe.components, controlnet };
      const shared = {
        numInferenceSteps: steps, generator: Array.isArray(seeds) ? seeds.map(seeded) : seeded(seeds), guidanceScale, guessMode,
        controlnetConditioningScale: scale ?? 1, controlGuidanceEnd: end,
      };
      const control = goldenImages(tensors[`${name}/control`]);
      const { images } = strength === undefined
        ? await new StableDiffusionControlNetPipeline(components).generate(prompts, { ...shared, image: control })
        : await new StableDiffusionControlNetImg2ImgPipeline(components).generate(prompts, {
          ...shared, strength, image: goldenImages(tensors[`${name}/begin`]), controlImage: control,
        });
      expectImages(images, tensors[name]);
    });
  }
});
