import * as tf from '@tensorflow/tfjs';
import type { Image } from '../../lib/image/image.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import type { StableDiffusionXLComponents } from '../../lib/pipelines/components/components.js';
import { StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline } from '../../lib/pipelines/index.js';
import type { Pair } from '../../lib/pipelines/stable_diffusion_xl/xl_options.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { commonOptions, goldenImages, TINY_XL, TINY_XL_UNETS, type PipelineCase } from '../support/tiny_pipeline.js';
import { goldenTensor } from '../support/weights.js';

/** In the words of golden/parts/sdxl.py. */
interface Case extends Omit<PipelineCase, 'scheduler'> {
  model?: 'refiner' | 'nine';
  scheduler?: string;
  zeros?: boolean;
  spread?: boolean;
  embeds?: boolean;
  prompt_2?: string | string[];
  negative_prompt_2?: string;
  original_size?: Pair;
  crops_coords_top_left?: Pair;
  target_size?: Pair;
  negative_original_size?: Pair;
  negative_crops_coords_top_left?: Pair;
  negative_target_size?: Pair;
  denoising_start?: number;
  denoising_end?: number;
  padding_mask_crop?: number;
  aesthetic_score?: number;
  negative_aesthetic_score?: number;
}

const close = { atol: 5e-4, rtol: 5e-4 };

/** What all three pipelines take. */
function xlOptions(options: Case) {
  return {
    ...commonOptions(options),
    prompt2: options.prompt_2,
    negativePrompt2: options.negative_prompt_2,
    originalSize: options.original_size,
    cropsCoordsTopLeft: options.crops_coords_top_left,
    targetSize: options.target_size,
    negativeOriginalSize: options.negative_original_size,
    negativeCropsCoordsTopLeft: options.negative_crops_coords_top_left,
    negativeTargetSize: options.negative_target_size,
    denoisingEnd: options.denoising_end,
  };
}

function imageOptions(options: Case) {
  return {
    ...xlOptions(options), strength: options.strength, denoisingStart: options.denoising_start,
    aestheticScore: options.aesthetic_score, negativeAestheticScore: options.negative_aesthetic_score,
  };
}

describeOnDevices('Stable Diffusion XL equals diffusers:', device => {
  let own: StableDiffusionXLComponents;
  const unets: Record<string, UNet2DConditionModel> = {};
  let spread: AutoencoderKL;
  before(async () => {
    own = (await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device })).components;
    for (const [name, path] of Object.entries(TINY_XL_UNETS)) unets[name] = await UNet2DConditionModel.fromPretrained(path);
    spread = spreadVae(own.vae as AutoencoderKL);
  });
  after(() => {
    new StableDiffusionXLPipeline({ ...own }).dispose();
    [...Object.values(unets), spread].forEach(network => network.dispose());
  });

  /** The same VAE, but for what its config says of latents. */
  function spreadVae(vae: AutoencoderKL): AutoencoderKL {
    const other = new AutoencoderKL({ ...vae.config, ...loadGolden('pipelines/sdxl').meta.spread });
    for (const path of vae.parameterSpecs().keys()) other.setParameter(path, vae.getParameter(path).clone());
    return other;
  }

  const partsOf = ({ model, scheduler, zeros, spread: isSpread }: Case): StableDiffusionXLComponents => ({
    ...own,
    ...scheduler && { scheduler: schedulerClass(scheduler).fromConfig(own.scheduler.config) },
    ...model && { unet: unets[model] },
    ...model === 'refiner' && { textEncoder: undefined, tokenizer: undefined, requiresAestheticsScore: true },
    ...isSpread && { vae: spread },
    forceZerosForEmptyPrompt: zeros,
  });

  /** Latents within rounding, and pictures within 2 of 255. */
  async function expectGolden(golden: Golden, name: string, make: (outputType: 'latent' | 'image') => Promise<{ images: unknown }>): Promise<void> {
    if (`${name}/out` in golden.tensors) await expectNoLeak(async () => {
      const { images } = await make('latent') as { images: tf.Tensor };
      expectClose(images, golden.tensors[`${name}/out`], close);
      return images;
    });
    await expectNoLeak(async () => {
      const { images } = await make('image') as { images: Image[] };
      const [{ height, width }] = images;
      expectClose({ shape: [images.length, height, width, 3], data: images.flatMap(image => [...image.data]) }, golden.tensors[`${name}/pictures`], { atol: 2, rtol: 0 });
      return [];
    });
  }

  const casesOf = (golden: Golden) => Object.entries(golden.meta.cases as Record<string, [string | string[], Case]>);
  const text2img = loadGolden('pipelines/sdxl');
  for (const [name, [prompt, options]] of casesOf(text2img)) {
    it(`text to image, ${name}: ${JSON.stringify(options)}`, async () => {
      const pipe = new StableDiffusionXLPipeline(partsOf(options));
      const embeds = (key: string) => options.embeds ? goldenTensor(text2img, `${name}/${key}`) : undefined;
      const given = {
        promptEmbeds: embeds('prompt_embeds'), negativePromptEmbeds: embeds('negative_prompt_embeds'),
        pooledPromptEmbeds: embeds('pooled_prompt_embeds'), negativePooledPromptEmbeds: embeds('negative_pooled_prompt_embeds'),
      };
      const { height, width } = options;
      await expectGolden(text2img, name, outputType =>
        pipe.generate(options.embeds ? undefined : prompt, { ...xlOptions(options), ...given, height, width, outputType }));
      tf.dispose(Object.values(given).filter(each => each !== undefined));
    });
  }

  const img2img = loadGolden('pipelines/sdxl_img2img');
  for (const [name, [prompt, options]] of casesOf(img2img)) {
    it(`image to image, ${name}: ${JSON.stringify(options)}`, async () => {
      const pipe = new StableDiffusionXLImg2ImgPipeline(partsOf(options));
      const image = `${name}/image` in img2img.tensors ? goldenImages(img2img.tensors[`${name}/image`]) : goldenTensor(img2img, `${name}/latents`);
      await expectGolden(img2img, name, outputType => pipe.generate(prompt, { ...imageOptions(options), image, outputType }));
      tf.dispose(image instanceof tf.Tensor ? image : []);
    });
  }

  const inpaint = loadGolden('pipelines/sdxl_inpaint');
  for (const [name, [prompt, options]] of casesOf(inpaint)) {
    it(`inpainting, ${name}: ${JSON.stringify(options)}`, async () => {
      const pipe = new StableDiffusionXLInpaintPipeline(partsOf(options));
      const paddingMaskCrop = options.padding_mask_crop;
      const one = <T>(images: T[]) => paddingMaskCrop === undefined ? images : images[0];
      const image = `${name}/image` in inpaint.tensors ? one(goldenImages(inpaint.tensors[`${name}/image`])) : goldenTensor(inpaint, `${name}/latents`);
      const maskImage = one(goldenImages(inpaint.tensors[`${name}/mask`]));
      const latents = `${name}/given` in inpaint.tensors ? goldenTensor(inpaint, `${name}/given`) : undefined;
      await expectGolden(inpaint, name, outputType => pipe.generate(prompt, { ...imageOptions(options), image, latents, maskImage, paddingMaskCrop, outputType }));
      tf.dispose([image, latents].filter(each => each instanceof tf.Tensor));
    });
  }
});
