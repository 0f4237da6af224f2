import {
  encodeWeightedPrompt, Generator, Image, LatentConsistencyModelImg2ImgPipeline, LatentConsistencyModelPipeline, randn, StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline, tf, type GenerateOptions, type StableDiffusionPipeline,
} from '../../../lib/index.js';
import type { Settings, Start } from '../protocol.js';

/** How to follow the work, and to end it. */
export interface Following {
  signal: AbortSignal;
  /** Lent for the call; `step` counts from 1. */
  onStep(latents: tf.Tensor, step: number, steps: number): Promise<void>;
}

/** What can be written in a prompt that plain encoding does not know. */
const WEIGHTS = /[()[\]\\]/;

/** A pipeline, and what it is asked for. */
interface Work {
  pipe: StableDiffusionPipeline;
  /** How many of the first timesteps are left out; none by default. */
  skipped?: number;
  run(prompt: string | undefined, options: GenerateOptions): Promise<{ images: Image[] }>;
}

/** The picture that settings describe. The pipeline has their scheduler already. */
export async function makeImage(pipe: StableDiffusionPipeline, settings: Settings, start: Start | undefined, { signal, onStep }: Following): Promise<Image> {
  const { prompt, numInferenceSteps, guidanceScale, seed, deepCache, tokenMerging } = settings;
  const work = start ? await fromPicture(pipe, settings, start) : fromNoise(pipe, settings);
  await useLoras(pipe, settings.loras);
  const encoded = encode(pipe, settings);
  if (deepCache) work.pipe.enableDeepCache({ cacheInterval: deepCache });
  if (tokenMerging) work.pipe.enableTokenMerging({ ratio: tokenMerging, maxDownsample: 2 });
  try {
    const { images } = await work.run(encoded.promptEmbeds ? undefined : prompt, {
      ...encoded, numInferenceSteps, guidanceScale, signal, generator: new Generator().manualSeed(seed),
      callbackOnStepEnd: (_, step, __, { latents }) => onStep(latents, step + 1, work.pipe.scheduler.timesteps.length - (work.skipped ?? 0)),
    });
    return images[0];
  } finally {
    tf.dispose([encoded.promptEmbeds, encoded.negativePromptEmbeds].filter(each => each !== undefined));
    work.pipe.disableDeepCache();
    work.pipe.disableTokenMerging();
  }
}

function fromNoise(pipe: StableDiffusionPipeline, settings: Settings): Work {
  const { width, height } = settings;
  return { pipe, run: async (prompt, options) => {
    const latents = variedNoise(pipe, settings);
    return pipe.generate(prompt, { ...options, width, height, latents }).finally(() => latents?.dispose());
  } };
}

/** By a pipeline of the same networks. */
async function fromPicture(pipe: StableDiffusionPipeline, { width, height, strength = 1, numInferenceSteps }: Settings, start: Start): Promise<Work> {
  const image = await Image.open(start.image);
  const maskImage = start.mask && await Image.open(start.mask);
  const { components } = pipe;
  if (pipe instanceof LatentConsistencyModelPipeline) {
    if (maskImage) throw new Error('this model changes whole pictures only: clear the mask');
    const distilled = new LatentConsistencyModelImg2ImgPipeline(components);
    return { pipe: distilled, run: (prompt, options) => distilled.generate(prompt, { ...options, image, strength }) };
  }
  const skipped = (numInferenceSteps - Math.floor(numInferenceSteps * strength)) * pipe.scheduler.order;
  if (maskImage) {
    const painting = new StableDiffusionInpaintPipeline(components);
    return { pipe: painting, skipped, run: (prompt, options) => painting.generate(prompt, { ...options, width, height, image, maskImage, strength }) };
  }
  const changing = new StableDiffusionImg2ImgPipeline(components);
  return { pipe: changing, skipped, run: (prompt, options) => changing.generate(prompt, { ...options, image, strength }) };
}

/** A prompt with weights, or the plain negative prompt for one without. */
function encode(
  pipe: StableDiffusionPipeline, { prompt, negativePrompt }: Settings,
): Pick<GenerateOptions, 'promptEmbeds' | 'negativePromptEmbeds' | 'negativePrompt'> {
  const knowsGuidance = pipe instanceof LatentConsistencyModelPipeline; // and has no negative prompt
  if (!WEIGHTS.test(prompt + negativePrompt)) return knowsGuidance ? {} : { negativePrompt };
  const { promptEmbeds, negativePromptEmbeds } = encodeWeightedPrompt(pipe, prompt, { negativePrompt });
  if (!knowsGuidance) return { promptEmbeds, negativePromptEmbeds };
  negativePromptEmbeds.dispose();
  return { promptEmbeds };
}

/** Noise between that of two seeds, along the sphere that noise lies on, so that it stays as strong. */
function variedNoise(pipe: StableDiffusionPipeline, { seed, variation, width, height }: Settings): tf.Tensor | undefined {
  if (!variation) return undefined;
  const shape = [1, height / pipe.vaeScaleFactor, width / pipe.vaeScaleFactor, pipe.vae.config.latent_channels];
  return tf.tidy(() => {
    const [from, to] = [seed, variation.seed].map(each => randn(shape, new Generator().manualSeed(each), pipe.unet.weightDtype));
    const angle = variation.share * Math.PI / 2; // noise of two seeds is at a right angle, very nearly
    return from.mul(Math.cos(angle)).add(to.mul(Math.sin(angle)));
  });
}

async function useLoras(pipe: StableDiffusionPipeline, loras: Record<string, number> = {}): Promise<void> {
  const names = Object.keys(loras);
  if (names.length > 0) await pipe.setAdapters(names, names.map(name => loras[name]));
  else if (pipe.getActiveAdapters().length > 0) await pipe.setAdapters([]);
}
