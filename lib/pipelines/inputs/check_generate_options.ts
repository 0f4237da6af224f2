import type { PromptEncoder } from '../../adapters/learned_words.js';
import { checkTensor } from '../../core/check_tensor.js';
import { checkInteger, checkNumber, checkOneOf, show } from '../../core/checks.js';
import { isObject } from '../../core/json.js';
import { Generator } from '../../core/random.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import type { Device } from '../../runtime/devices.js';
import { Scheduler } from '../../schedulers/scheduler.js';
import type { Steps } from '../../schedulers/steps.js';
import { checkMemory } from './check_memory.js';
import type { GenerateRequest, GuidedOptions, LoraKwargs, OutputType } from './generate_options.js';
import { towardsText } from '../run/guidance.js';

/** What makes pictures: options are checked against it. */
export interface Generating {
  readonly vae: Autoencoder;
  readonly scheduler: Scheduler;
  readonly promptEncoders: readonly PromptEncoder[];
  readonly vaeScaleFactor: number;
  readonly sideFactor: number;
  readonly device?: Device;
  readonly defaultSampleSize: number | [number, number] | null;
  readonly defaults: { readonly numInferenceSteps: number; readonly guidanceScale: number };
}

/** What the pipeline's network takes, and how it is guided. */
export interface Expected {
  /** Features of a token. */
  readonly features: number;
  /** How many tokens texts have that it reads itself. */
  readonly tokens: number;
  /** Whether to guide with a scale. */
  readonly guides: (guidanceScale: number) => boolean;
  /** Whether what to avoid, where nothing is said of it, is zeros and no text; false by default. */
  readonly avoidsZeros?: boolean;
  /** How many of the text encoder's layers can be left out. */
  readonly clipLayers: number;
}

/** @throws TypeError for what is no scheduler: also for a class, of which one is yet to be made. */
export function checkScheduler(scheduler: unknown): void {
  if (scheduler instanceof Scheduler) return;
  const { className } = (scheduler ?? {}) as Partial<typeof Scheduler>;
  if (typeof scheduler !== 'function' || !className) throw new TypeError(`scheduler: got ${show(scheduler)}, takes a Scheduler`);
  throw new TypeError(`scheduler: got the class ${className}, takes one of it: ${className}.fromConfig(pipe.scheduler.config)`);
}

/**
 * What all pipelines check, each of which adds what is its own.
 * @throws TypeError or RangeError that names the option, what it got and what it takes.
 */
export function checkGenerateOptions(
  pipe: Generating, prompt: string | string[] | undefined, options: GuidedOptions<OutputType>, expected: Expected,
): GenerateRequest {
  const { vaeScaleFactor, sideFactor, promptEncoders } = pipe;
  const { features, avoidsZeros = false } = expected;
  const { textEncoder } = promptEncoders.at(-1)!;
  checkScheduler(pipe.scheduler);
  const { promptEmbeds, negativePromptEmbeds, latents, generator, callbackOnStepEnd, signal } = options;
  const [trainedHeight, trainedWidth = trainedHeight] = [pipe.defaultSampleSize].flat();
  if ((prompt === undefined) === (promptEmbeds === undefined)) {
    const got = prompt === undefined ? 'neither prompt nor' : 'both prompt and';
    throw new TypeError(`prompt: got ${got} promptEmbeds, takes one of the two`);
  }
  if (options.negativePrompt !== undefined && negativePromptEmbeds) {
    throw new TypeError('negativePrompt: got both negativePrompt and negativePromptEmbeds, takes one of the two');
  }
  const steps = chooseSteps(options, pipe.defaults.numInferenceSteps);
  if (promptEmbeds !== undefined) checkTensor('promptEmbeds', promptEmbeds, [null, null, features]);

  const prompts = prompt === undefined ? undefined : checkTexts('prompt', prompt);
  const batch = prompts?.length ?? promptEmbeds!.shape[0];
  const negativePrompts = checkTexts('negativePrompt', options.negativePrompt ?? '', batch);
  const tokens = promptEmbeds?.shape[1] ?? expected.tokens;
  if (negativePromptEmbeds !== undefined) checkTensor('negativePromptEmbeds', negativePromptEmbeds, [batch, tokens, features]);

  const guidanceScale = checkNumber('guidanceScale', options.guidanceScale ?? pipe.defaults.guidanceScale);
  const numImagesPerPrompt = checkInteger('numImagesPerPrompt', options.numImagesPerPrompt ?? 1, 1);
  const images = batch * numImagesPerPrompt;
  const height = checkSide('height', options.height ?? (trainedHeight ?? NaN) * vaeScaleFactor, sideFactor);
  const width = checkSide('width', options.width ?? (trainedWidth ?? NaN) * vaeScaleFactor, sideFactor);
  const latentShape: GenerateRequest['latentShape'] =
    [images, height / vaeScaleFactor, width / vaeScaleFactor, pipe.vae.config.latent_channels];
  checkMemory(pipe.vae, { images, height, width }, pipe.device);
  if (latents !== undefined) checkTensor('latents', latents, latentShape);
  if (generator !== undefined && ![generator].flat().every(each => each instanceof Generator)) {
    throw new TypeError(`generator: got ${show(generator)}, takes a Generator or a list of them`);
  }
  if (Array.isArray(generator) && generator.length !== images) {
    throw new RangeError(`generator: got a list of ${generator.length}, takes one, or a list of ${images} (one for each image)`);
  }
  if (callbackOnStepEnd !== undefined && typeof callbackOnStepEnd !== 'function') {
    throw new TypeError(`callbackOnStepEnd: got ${show(callbackOnStepEnd)}, takes a function`);
  }
  if (signal !== undefined && typeof signal.throwIfAborted !== 'function') {
    throw new TypeError(`signal: got ${show(signal)}, takes an AbortSignal, as AbortController has`);
  }
  const guided = expected.guides(guidanceScale);
  if (guided && !avoidsZeros && !negativePromptEmbeds && tokens !== expected.tokens) {
    throw new TypeError(`negativePromptEmbeds: got undefined, takes some of ${tokens} tokens, as promptEmbeds have; ` +
      'encodeWeightedPrompt gives both');
  }
  return {
    prompts, promptEmbeds, negativePrompts, negativePromptEmbeds, numImagesPerPrompt, guidanceScale, guided,
    guidanceStop: checkNumber('guidanceStop', options.guidanceStop ?? 1, 0, 1),
    guidanceRescale: 0,
    guidance: towardsText(guided ? { scale: guidanceScale, rescale: 0 } : undefined),
    steps, numInferenceSteps: pipe.scheduler.countSteps(steps),
    clipSkip: checkInteger('clipSkip', options.clipSkip ?? 0, 0, expected.clipLayers),
    loraScale: 1,
    eta: 0,
    outputType: checkOneOf('outputType', options.outputType ?? 'image', ['image', 'tensor', 'latent']),
    detectAnomaly: options.detectAnomaly ?? false,
    whenBusy: checkOneOf('whenBusy', options.whenBusy ?? 'throw', ['throw', 'wait']),
    latentShape, latents, generator, dtype: textEncoder.weightDtype, callbackOnStepEnd, signal,
  };
}

/** @throws TypeError for more than one of the three ways to say the steps. */
function chooseSteps({ numInferenceSteps, timesteps, sigmas }: GuidedOptions<OutputType>, usual: number): Steps {
  const given = Object.entries({ numInferenceSteps, timesteps, sigmas }).filter(([, value]) => value !== undefined).map(([name]) => name);
  if (given.length > 1) throw new TypeError(`${given[0]}: got both ${given[0]} and ${given[1]}, takes one of the two`);
  return timesteps ? { timesteps } : sigmas ? { sigmas } : checkInteger('numInferenceSteps', numInferenceSteps ?? usual, 1);
}

/** @throws TypeError for what is no `{ scale }`. */
export function checkLoraScale(option: string, kwargs: LoraKwargs = {}): number {
  const stranger = isObject(kwargs) ? Object.keys(kwargs).find(key => key !== 'scale') : '';
  if (stranger !== undefined) {
    throw new TypeError(`${option}: got ${stranger ? `the key ${show(stranger)}` : show(kwargs)}, takes { scale }`);
  }
  return checkNumber(`${option}.scale`, kwargs.scale ?? 1);
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
