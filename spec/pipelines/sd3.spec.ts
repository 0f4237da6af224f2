import * as tf from '@tensorflow/tfjs';
import { SD3Transformer2DModel } from '../../lib/models/sd3_transformer_2d_model.js';
import type { StableDiffusion3Components } from '../../lib/pipelines/components/components.js';
import {
  StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline, StableDiffusion3Pipeline,
} from '../../lib/pipelines/index.js';
import type { SD3Options, SkipLayerOptions } from '../../lib/pipelines/stable_diffusion_3/sd3_options.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import type { Image } from '../../lib/image/image.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { commonOptions, defined, expectImages, goldenImages, TINY_SD3, TINY_SD3_MASKED, type PipelineCase } from '../support/tiny_pipeline.js';
import { goldenTensor } from '../support/weights.js';

interface Case extends Omit<PipelineCase, 'scheduler'> {
  scheduler?: string;
  config?: object;
  model?: 'masked';
  t5?: boolean;
  embeds?: boolean;
  prompt_2?: string;
  prompt_3?: string;
  negative_prompt_2?: string;
  negative_prompt_3?: string;
  max_sequence_length?: number;
  sigmas?: number[];
  mu?: number;
  skip_guidance_layers?: number[];
  skip_layer_guidance_scale?: number;
  skip_layer_guidance_start?: number;
  skip_layer_guidance_stop?: number;
}

const close = { atol: 5e-4, rtol: 5e-4 };

/** What a golden's case is in our words. */
const optionsOf = (options: Case) => defined({
  ...commonOptions(options), numInferenceSteps: options.sigmas ? undefined : options.steps,
  prompt2: options.prompt_2, prompt3: options.prompt_3, negativePrompt2: options.negative_prompt_2, negativePrompt3: options.negative_prompt_3,
  maxSequenceLength: options.max_sequence_length, sigmas: options.sigmas, mu: options.mu, height: options.height, width: options.width,
  skipGuidanceLayers: options.skip_guidance_layers, skipLayerGuidanceScale: options.skip_layer_guidance_scale,
  skipLayerGuidanceStart: options.skip_layer_guidance_start, skipLayerGuidanceStop: options.skip_layer_guidance_stop,
}) as SD3Options<'latent'> & SkipLayerOptions;

describeOnDevices("Stable Diffusion 3's pipelines", device => {
  let own: StableDiffusion3Pipeline;
  let masked: SD3Transformer2DModel;
  before(async () => {
    own = await StableDiffusion3Pipeline.fromPretrained(TINY_SD3, { device, compile: false });
    own.setProgressBarConfig({ disable: true });
    masked = await SD3Transformer2DModel.fromPretrained(TINY_SD3_MASKED);
  });
  after(() => {
    own.dispose();
    masked.dispose();
  });

  const partsOf = ({ model, t5 = true, scheduler, config }: Case): StableDiffusion3Components => ({
    ...own.components, ...model && { transformer: masked }, ...!t5 && { textEncoder3: undefined, tokenizer3: undefined },
    ...(scheduler || config) && {
      scheduler: schedulerClass(scheduler ?? 'FlowMatchEulerDiscreteScheduler').fromConfig({ ...own.scheduler.config, ...config }),
    },
  });
  const quiet = <P extends StableDiffusion3Pipeline>(pipe: P): P => {
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  const casesOf = (golden: Golden) => Object.entries(golden.meta.cases as Record<string, [string | string[], Case]>);

  /** Latents within rounding, and of the first case pictures within 2 of 255. */
  async function expectGolden(
    { tensors }: Golden, name: string, make: <T extends 'latent' | 'image'>(outputType: T) => Promise<{ images: unknown }>,
  ): Promise<void> {
    await expectNoLeak(async () => {
      const { images } = await make('latent');
      expectClose(images as tf.Tensor, tensors[`${name}/out`], close);
      return images as tf.Tensor;
    });
    if (name !== 'default') return;
    await expectNoLeak(async () => {
      expectImages((await make('image')).images as Image[], tensors[`${name}/pictures`]);
      return [];
    });
  }

  const text2img = loadGolden('pipelines/sd3');
  for (const [name, [prompt, options]] of casesOf(text2img)) {
    it(`text to image, ${name}: ${JSON.stringify(options)}`, async () => {
      const pipe = quiet(new StableDiffusion3Pipeline(partsOf(options)));
      const embeds = (key: string) => options.embeds ? goldenTensor(text2img, `${name}/${key}`) : undefined;
      const given = {
        promptEmbeds: embeds('prompt_embeds'), negativePromptEmbeds: embeds('negative_prompt_embeds'),
        pooledPromptEmbeds: embeds('pooled_prompt_embeds'), negativePooledPromptEmbeds: embeds('negative_pooled_prompt_embeds'),
      };
      await expectGolden(text2img, name, outputType =>
        pipe.generate(options.embeds ? undefined : prompt, { ...optionsOf(options), ...given, outputType }));
      tf.dispose(Object.values(given).filter(each => each !== undefined));
    });
  }

  const img2img = loadGolden('pipelines/sd3_img2img');
  for (const [name, [prompt, options]] of casesOf(img2img)) {
    it(`image to image, ${name}: ${JSON.stringify(options)}`, async () => {
      const pipe = quiet(new StableDiffusion3Img2ImgPipeline(partsOf(options)));
      const image = `${name}/image` in img2img.tensors ? goldenImages(img2img.tensors[`${name}/image`]) : goldenTensor(img2img, `${name}/latents`);
      const { strength } = options;
      await expectGolden(img2img, name, outputType => pipe.generate(prompt, { ...optionsOf(options), image, strength, outputType }));
      tf.dispose(image instanceof tf.Tensor ? image : []);
    });
  }

  const inpaint = loadGolden('pipelines/sd3_inpaint');
  for (const [name, [prompt, options]] of casesOf(inpaint)) {
    it(`inpainting, ${name}: ${JSON.stringify(options)}`, async () => {
      const pipe = quiet(new StableDiffusion3InpaintPipeline(partsOf(options)));
      const [image, maskImage] = ['image', 'mask'].map(key => goldenImages(inpaint.tensors[`${name}/${key}`]));
      const { strength } = options;
      const maskedImageLatents = `${name}/masked_latents` in inpaint.tensors ? goldenTensor(inpaint, `${name}/masked_latents`) : undefined;
      const painting = { image, maskImage, strength, maskedImageLatents };
      await expectGolden(inpaint, name, outputType => pipe.generate(prompt, { ...optionsOf(options), ...painting, outputType }));
      maskedImageLatents?.dispose();
    });
  }
});
