import type { PromptEncoder } from '../../adapters/learned_words.js';
import { checkInteger, checkNumber, checkOneOf, checkShape, show } from '../../core/checks.js';
import { isObject } from '../../core/json.js';
import { Generator } from '../../core/random.js';
import { blurs } from '../../models/unet_2d_condition_config.js';
import type { Device } from '../../runtime/devices.js';
import { Scheduler } from '../../schedulers/scheduler.js';
import type { Steps } from '../../schedulers/steps.js';
import { checkMemory } from './check_memory.js';
import type { StableDiffusionComponents } from '../components/components.js';
import type { GenerateOptions, GenerateRequest, OutputType } from './generate_options.js';
import { towardsText } from '../run/guidance.js';
import { checkImagePrompts, type ImageReader } from './image_prompts.js';
import { checkPerturbedAttention } from './perturbed_attention.js';
import { pipelineClasses } from '../components/registry.js';

/** What makes pictures: options are checked against it. */
export interface Generating extends Pick<StableDiffusionComponents, 'vae' | 'scheduler'>, ImageReader {
  readonly familyName: string;
  readonly promptEncoders: readonly PromptEncoder[];
  readonly vaeScaleFactor: number;
  readonly device?: Device;
  readonly defaultSampleSize: number | [number, number] | null;
  readonly defaults: { readonly numInferenceSteps: number; readonly guidanceScale: number };
}

/** What a pipeline's UNet is, and how it is guided, where that is not as Stable Diffusion's own. */
export interface ExpectedUNet {
  /** How many channels it may take; those of the latents by default. */
  channels?: readonly number[];
  /** Whether the pipeline can tell it a class. */
  classes?: boolean;
  /** Whether what to avoid, where nothing is said of it, is zeros and no text; false by default. */
  avoidsZeros?: boolean;
  /** Whether to guide with a scale; above 1 by default, unless the UNet knows the scale and needs no second prediction. */
  guides?: (guidanceScale: number) => boolean;
}

/** The pipelines whose UNets see more than latents, by their channels. */
const BY_CHANNELS: Record<number, string> = { 5: 'Depth2Img', 7: 'Upscale', 8: 'InstructPix2Pix', 9: 'Inpaint' };

/** @throws TypeError for what is no scheduler: also for a class, of which one is yet to be made. */
export function checkScheduler(scheduler: unknown): void {
  if (scheduler instanceof Scheduler) return;
  const { className } = (scheduler ?? {}) as Partial<typeof Scheduler>;
  if (typeof scheduler !== 'function' || !className) throw new TypeError(`scheduler: got ${show(scheduler)}, takes a Scheduler`);
  throw new TypeError(`scheduler: got the class ${className}, takes one of it: ${className}.fromConfig(pipe.scheduler.config)`);
}

/** @throws TypeError or RangeError that names the option, what it got and what it takes. */
export function checkGenerateOptions(
  pipe: Generating, prompt: string | string[] | undefined, options: GenerateOptions<OutputType>,
  expected: ExpectedUNet = {},
): GenerateRequest {
  const { unet, vaeScaleFactor, promptEncoders } = pipe;
  const { channels = [pipe.vae.config.latent_channels], classes = false, guides = scale => scale > 1 && !unet.takesGuidance } = expected;
  const { tokenizer, textEncoder } = promptEncoders.at(-1)!;
  checkScheduler(pipe.scheduler);
  const { promptEmbeds, negativePromptEmbeds, latents, generator, callbackOnStepEnd, signal } = options;
  const { textFeatures: features } = unet;
  const [trainedHeight, trainedWidth = trainedHeight] = [pipe.defaultSampleSize].flat();
  const tellsSizes = pipe.familyName === 'StableDiffusionXL';
  if (unet.takesAdditions !== tellsSizes) {
    const [takes, other] = tellsSizes
      ? ["'text_time'", 'StableDiffusionPipeline runs others']
      : ['null', "StableDiffusionXLPipeline runs SDXL's"];
    throw new RangeError(`unet: addition_embed_type: got ${show(unet.config.addition_embed_type)}, takes ${takes}: ${other}`);
  }
  const given = promptEncoders.map(each => each.textEncoder.config.hidden_size);
  if (given.reduce((sum, size) => sum + size, 0) !== features) {
    const givers = given.length > 1 ? 'textEncoder and textEncoder2: give' : `${tellsSizes ? 'textEncoder2' : 'textEncoder'}: gives`;
    throw new RangeError(`${givers} ${given.join(' + ')} features, the unet takes ${features}`);
  }
  if (unet.takesClasses && !classes) {
    const key = unet.config.class_embed_type === null ? 'num_class_embeds' : 'class_embed_type';
    throw new RangeError(`unet: ${key}: got ${show(unet.config[key])}, takes null: this pipeline has no classes to tell the unet`);
  }
  const { in_channels: got } = unet.config;
  if (!channels.includes(got)) {
    const other = `${pipe.familyName}${blurs(unet.config) ? 'LatentUpscale' : BY_CHANNELS[got]}Pipeline`;
    const hint = Object.hasOwn(pipelineClasses, other) ? `; one of ${got} channels is for ${other}` : '';
    throw new RangeError(`unet: in_channels: got ${got}, takes ${channels.join(' or ')}${hint}`);
  }
  if ((prompt === undefined) === (promptEmbeds === undefined)) {
    const got = prompt === undefined ? 'neither prompt nor' : 'both prompt and';
    throw new TypeError(`prompt: got ${got} promptEmbeds, takes one of the two`);
  }
  if (options.negativePrompt !== undefined && negativePromptEmbeds) {
    throw new TypeError('negativePrompt: got both negativePrompt and negativePromptEmbeds, takes one of the two');
  }
  const steps = chooseSteps(options, pipe.defaults.numInferenceSteps);
  if (promptEmbeds) checkShape('promptEmbeds', promptEmbeds.shape, [null, null, features]);

  const prompts = prompt === undefined ? undefined : checkTexts('prompt', prompt);
  const batch = prompts?.length ?? promptEmbeds!.shape[0];
  const negativePrompts = checkTexts('negativePrompt', options.negativePrompt ?? '', batch);
  const tokens = promptEmbeds?.shape[1] ?? tokenizer.modelMaxLength;
  if (negativePromptEmbeds) checkShape('negativePromptEmbeds', negativePromptEmbeds.shape, [batch, tokens, features]);

  const guidanceScale = checkNumber('guidanceScale', options.guidanceScale ?? pipe.defaults.guidanceScale);
  const guidanceRescale = checkNumber('guidanceRescale', options.guidanceRescale ?? 0, 0, 1);
  const numImagesPerPrompt = checkInteger('numImagesPerPrompt', options.numImagesPerPrompt ?? 1, 1);
  const images = batch * numImagesPerPrompt;
  const height = checkSide('height', options.height ?? (trainedHeight ?? NaN) * vaeScaleFactor, vaeScaleFactor);
  const width = checkSide('width', options.width ?? (trainedWidth ?? NaN) * vaeScaleFactor, vaeScaleFactor);
  const latentShape: GenerateRequest['latentShape'] =
    [images, height / vaeScaleFactor, width / vaeScaleFactor, pipe.vae.config.latent_channels];
  checkMemory(pipe.vae, { images, height, width }, pipe.device);
  if (latents) checkShape('latents', latents.shape, latentShape);
  if (generator !== undefined && ![generator].flat().every(each => each instanceof Generator)) {
    throw new TypeError(`generator: got ${show(generator)}, takes a Generator or a list of them`);
  }
  if (Array.isArray(generator) && generator.length !== images) {
    throw new RangeError(`generator: got a list of ${generator.length}, takes one, or a list of ${images} (one for each image)`);
  }
  const guided = guides(guidanceScale);
  if (guided && !expected.avoidsZeros && !negativePromptEmbeds && tokens !== tokenizer.modelMaxLength) {
    throw new TypeError(`negativePromptEmbeds: got undefined, takes some of ${tokens} tokens, as promptEmbeds have; ` +
      'encodeWeightedPrompt gives both');
  }
  return {
    prompts, promptEmbeds, negativePrompts, negativePromptEmbeds, numImagesPerPrompt, guidanceScale, guided,
    imagePrompts: checkImagePrompts(pipe, options, guided),
    guidanceStop: checkNumber('guidanceStop', options.guidanceStop ?? 1, 0, 1),
    guidanceRescale,
    guidance: towardsText(guided ? { scale: guidanceScale, rescale: guidanceRescale } : undefined, checkPerturbedAttention(unet, options)),
    steps, numInferenceSteps: pipe.scheduler.countSteps(steps),
    clipSkip: checkInteger('clipSkip', options.clipSkip ?? 0, 0, textEncoder.config.num_hidden_layers),
    loraScale: checkLoraScale(options.crossAttentionKwargs),
    eta: checkNumber('eta', options.eta ?? 0, 0, 1),
    outputType: checkOneOf('outputType', options.outputType ?? 'image', ['image', 'tensor', 'latent']),
    detectAnomaly: options.detectAnomaly ?? false,
    whenBusy: checkOneOf('whenBusy', options.whenBusy ?? 'throw', ['throw', 'wait']),
    latentShape, latents, generator, dtype: textEncoder.weightDtype, callbackOnStepEnd, signal,
  };
}

/** @throws TypeError for more than one of the three ways to say the steps. */
function chooseSteps({ numInferenceSteps, timesteps, sigmas }: GenerateOptions<OutputType>, usual: number): Steps {
  const given = Object.entries({ numInferenceSteps, timesteps, sigmas }).filter(([, value]) => value !== undefined).map(([name]) => name);
  if (given.length > 1) throw new TypeError(`${given[0]}: got both ${given[0]} and ${given[1]}, takes one of the two`);
  return timesteps ? { timesteps } : sigmas ? { sigmas } : checkInteger('numInferenceSteps', numInferenceSteps ?? usual, 1);
}

/** @throws TypeError for what is no `{ scale }`. */
function checkLoraScale(kwargs: GenerateOptions['crossAttentionKwargs'] = {}): number {
  const stranger = isObject(kwargs) ? Object.keys(kwargs).find(key => key !== 'scale') : '';
  if (stranger !== undefined) {
    throw new TypeError(`crossAttentionKwargs: got ${stranger ? `the key ${show(stranger)}` : show(kwargs)}, takes { scale }`);
  }
  return checkNumber('crossAttentionKwargs.scale', kwargs.scale ?? 1);
}

/** One text or several -> `count` texts (one stands for all), or as many as there are. */
export function checkTexts(name: string, texts: string | string[], count?: number): string[] {
  if (typeof texts === 'string') return Array<string>(count ?? 1).fill(texts);
  if (!Array.isArray(texts) || !texts.every(text => typeof text === 'string')) {
    throw new TypeError(`${name}: got ${show(texts)}, takes a text or a list of texts`);
  }
  if (texts.length === 0) throw new RangeError(`${name}: got an empty list, takes at least one text`);
  if (count !== undefined && texts.length !== count) {
    throw new RangeError(`${name}: got a list of ${texts.length}, takes a text, or a list of ${count} (one for each prompt)`);
  }
  return texts;
}

function checkSide(name: string, pixels: number, factor: number): number {
  checkInteger(name, pixels, 1);
  if (pixels % factor !== 0) throw new RangeError(`${name}: got ${pixels}, takes a number of pixels divisible by ${factor}`);
  return pixels;
}
