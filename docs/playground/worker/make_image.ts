import {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, Generator, Image, ImagePromptPipeline, randn, tf,
  type ControlNetModel, type GenerateOptions, type GuidedPipeline, type Image2ImagePipeline, type InpaintingPipeline, type ModelFolder, type Scheduler,
  type Text2ImagePipeline,
} from '../../../lib/index.js';
import { weightedPromptFor } from '../../../lib/pipelines/weighted_prompt.js';
import { hasWeights, type Settings, type Sources, type Start } from '../protocol.js';

/** A model, by what its family does with the same networks. */
export interface Pipelines {
  text2Image: Text2ImagePipeline;
  image2Image: Image2ImagePipeline;
  inpainting?: InpaintingPipeline;
}

/** The pictures that a picture is made of, and what steers by those that steer, or takes their style. */
export interface Material extends Sources {
  controlnet?: ControlNetModel;
  /** The folder of an IP-Adapter, with its image encoder. */
  ipAdapter?: ModelFolder;
}

/** How to follow the work, and to end it. */
export interface Following {
  signal: AbortSignal;
  /** Lent for the call; `step` counts from 1. */
  onStep(latents: tf.Tensor, step: number, steps: number): Promise<void>;
  /** Whether the GPU is being prepared for such pictures. */
  onPreparing(preparing: boolean): void;
}

/** A pipeline, and what it is asked for. */
interface Work {
  pipe: GuidedPipeline;
  run(prompt: string | undefined, options: GenerateOptions): Promise<{ images: Image[] }>;
}

/** All that the family of a pipeline does, with its networks, and silent. */
export function pipelinesOf(text2Image: Text2ImagePipeline): Pipelines {
  const image2Image = AutoPipelineForImage2Image.fromPipe(text2Image);
  const inpainting = AutoPipelineForInpainting.supports(text2Image) ? AutoPipelineForInpainting.fromPipe(text2Image) : undefined;
  for (const pipe of [text2Image, image2Image, inpainting]) pipe?.setProgressBarConfig({ disable: true });
  return { text2Image, image2Image, inpainting };
}

/** The picture that settings describe, by a scheduler that is made as they say. */
export async function makeImage(
  plain: Pipelines, scheduler: Scheduler, settings: Settings, material: Material, { signal, onStep, onPreparing }: Following,
): Promise<Image> {
  const { prompt, numInferenceSteps, guidanceScale, seed, deepCache, tokenMerging } = settings;
  const { start, control, style, controlnet, ipAdapter } = material;
  const steer = controlnet && control && await Image.open(control);
  const ipAdapterImage = ipAdapter && style && await Image.open(style);
  await useIpAdapter(plain.text2Image, ipAdapterImage && ipAdapter, settings.styleScale);
  const isPlain = !steer && !ipAdapterImage;
  const pipelines = isPlain ? plain : pipelinesOf(AutoPipelineForText2Image.fromPipe(plain.text2Image, { controlnet: steer && controlnet }));
  const { pipe, run } = start ? await fromPicture(pipelines, settings, start, steer) : fromNoise(pipelines, settings, steer);
  pipe.scheduler = scheduler;
  pipe.setProgressBarConfig({ disable: true, onPreparing });
  await useLoras(pipe, settings.loras);
  const encoded = encode(pipe, settings);
  if (deepCache) withUNet(pipe).enableDeepCache({ cacheInterval: deepCache });
  if (tokenMerging) withUNet(pipe).enableTokenMerging({ ratio: tokenMerging, maxDownsample: 2 });
  try {
    const { images } = await run(encoded.promptEmbeds ? undefined : prompt, {
      ...encoded, ipAdapterImage, numInferenceSteps, guidanceScale, signal, generator: new Generator().manualSeed(seed),
      callbackOnStepEnd: ({ numTimesteps }, step, _, { latents }) => onStep(latents, step + 1, numTimesteps),
    });
    return images[0];
  } finally {
    tf.dispose(encoded as tf.TensorContainer); // as far as it is tensors
    if (pipe instanceof ImagePromptPipeline) {
      pipe.disableDeepCache();
      pipe.disableTokenMerging();
    }
  }
}

function fromNoise({ text2Image: pipe }: Pipelines, settings: Settings, steer?: Image): Work {
  const { width, height, controlScale } = settings;
  const steering = steer && { image: steer, controlnetConditioningScale: controlScale };
  return { pipe, run: async (prompt, options) => {
    const latents = variedNoise(pipe, settings);
    return pipe.generate(prompt, { ...options, width, height, latents, ...steering }).finally(() => latents?.dispose());
  } };
}

async function fromPicture({ image2Image, inpainting }: Pipelines, settings: Settings, start: Start, steer?: Image): Promise<Work> {
  const { width, height, strength, controlScale } = settings;
  const image = await Image.open(start.image);
  const steering = steer && { controlImage: steer, controlnetConditioningScale: controlScale };
  if (!start.mask) return { pipe: image2Image, run: (prompt, options) => image2Image.generate(prompt, { ...options, image, strength, ...steering }) };
  if (!inpainting) throw new Error('this model changes whole pictures only, and the one to begin from is painted on');
  const maskImage = await Image.open(start.mask);
  return { pipe: inpainting, run: (prompt, options) => inpainting.generate(prompt, { ...options, width, height, image, maskImage, strength, ...steering }) };
}

/** A prompt with weights as tensors, or for one without the plain text to avoid. Nothing said of that is left to the family. */
function encode(pipe: GuidedPipeline, settings: Settings): Pick<GenerateOptions, 'promptEmbeds' | 'negativePromptEmbeds' | 'negativePrompt'> {
  const { prompt } = settings;
  const negativePrompt = pipe.takesNegativePrompt ? settings.negativePrompt || undefined : undefined;
  if (!hasWeights({ prompt, negativePrompt: negativePrompt ?? '' })) return { negativePrompt };
  return weightedPromptFor(pipe, prompt, { negativePrompt });
}

/** Noise between that of two seeds, along the sphere that noise lies on, so that it stays as strong. */
function variedNoise(pipe: GuidedPipeline, { seed, variation, width, height }: Settings): tf.Tensor | undefined {
  if (!variation) return undefined;
  const shape = [1, height / pipe.vaeScaleFactor, width / pipe.vaeScaleFactor, pipe.vae.config.latent_channels];
  return tf.tidy(() => {
    const [from, to] = [seed, variation.seed].map(each => randn(shape, new Generator().manualSeed(each), pipe.denoiser.weightDtype));
    const angle = variation.share * Math.PI / 2; // noise of two seeds is at a right angle, very nearly
    return from.mul(Math.cos(angle)).add(to.mul(Math.sin(angle)));
  });
}

async function useLoras(pipe: GuidedPipeline, loras: Record<string, number> = {}): Promise<void> {
  const names = Object.keys(loras);
  if (names.length > 0) await pipe.setAdapters(names, names.map(name => loras[name]));
  else if (pipe.getActiveAdapters().length > 0) await pipe.setAdapters([]);
}

/** Gives the networks an IP-Adapter, which asks for a picture as long as it is there, or takes it away. */
async function useIpAdapter(pipe: GuidedPipeline, folder: ModelFolder | undefined, scale = 1): Promise<void> {
  if (!folder) return pipe instanceof ImagePromptPipeline && pipe.unet.ipAdapters ? pipe.unloadIpAdapter() : undefined;
  const reader = withUNet(pipe);
  if (!reader.unet.ipAdapters) await reader.loadIpAdapter(folder, { weightName: 'ip_adapter.safetensors' });
  await reader.setIpAdapterScale(scale);
}

/** @throws Error for a model that has no UNet, which all shortcuts and IP-Adapters are for. */
function withUNet(pipe: GuidedPipeline): ImagePromptPipeline {
  if (pipe instanceof ImagePromptPipeline) return pipe;
  throw new Error('DeepCache, token merging and IP-Adapters are for models with a UNet, and this one has a transformer');
}
