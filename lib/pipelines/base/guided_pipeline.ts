import * as tf from '@tensorflow/tfjs';
import { checkTensor } from '../../core/check_tensor.js';
import { randn } from '../../core/random.js';
import type { Image } from '../../image/image.js';
import type { ImagePrompts } from '../../layers/ip_adapter_attention.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { DenoisingStart, Predict } from '../run/denoise.js';
import { describeImages } from './describe_images.js';
import type { GenerateOutput, GenerateRequest, OutputType } from '../inputs/generate_options.js';
import { AdaptablePipeline } from './adaptable_pipeline.js';
import { unguided, type Guidance } from '../run/guidance.js';
import { checkNumbers, helpForNetwork } from '../run/not_a_number.js';
import { explainOutOfMemory } from '../run/out_of_memory.js';
import type { CheckedPictures } from './safety.js';
import type { Steering } from '../inputs/steering.js';

declare module '../components/registry.js' {
  interface PipelineTypes {
    guided: GuidedPipeline;
  }
}

/** What is read of the texts: for each image, or with guidance what to avoid in each first. */
export type EncodedTexts = {
  /** `[texts, tokens, features]` */
  encoderHiddenStates: tf.Tensor;
  /** Each as a whole, where the denoiser is told that: `[texts, features]`. */
  textEmbeds?: tf.Tensor;
  /** What else is added to the timestep for each, where the UNet is told that: `[texts, time_cond_proj_dim]`. */
  timestepCond?: tf.Tensor;
  /** Pictures that lead besides them. */
  imagePrompts?: ImagePrompts;
};

/** What says of a sample what is to be taken off it, during one run. */
export interface Predictor {
  readonly predict: Predict;
  /** Frees what it holds between steps. */
  readonly dispose?: () => void;
}

/**
 * A pipeline that is guided by prompts and negative prompts. It has all of `generate` except for checking options, encoding texts and the
 * start.
 */
export abstract class GuidedPipeline extends AdaptablePipeline {
  abstract scheduler: Scheduler;
  /** Whether the result is what the last step predicts without noise, whatever noise it adds again. */
  protected readonly endsWithOriginal: boolean = false;
  /** How many steps the latest run takes: fewer than were asked for if it begins from a picture, more with some schedulers. */
  numTimesteps = 0;

  /** The defaults of `numInferenceSteps` and `guidanceScale` in `generate`. */
  abstract get defaults(): { readonly numInferenceSteps: number; readonly guidanceScale: number };

  /** Height and width of the latents if `generate` gets no `height` and `width`. */
  abstract get defaultSampleSize(): number | [number, number] | null;

  /** Height and width must be multiples of it, in pixels. */
  get sideFactor(): number {
    return this.vaeScaleFactor;
  }

  /** Whether `generate` takes a negative prompt. */
  get takesNegativePrompt(): boolean {
    return true;
  }

  /** Reads the texts, each by an encoder that is made ready before. In a tidy. */
  protected abstract encodePrompts(request: GenerateRequest): EncodedTexts;

  /** The texts, and what else leads. In a tidy. */
  protected encodeInputs(request: GenerateRequest): EncodedTexts {
    return this.encodePrompts(request);
  }

  /** What the denoiser says of a sample, led by the texts and by what is told besides. */
  protected abstract predictor(text: EncodedTexts, start: DenoisingStart, request: GenerateRequest, steering?: Steering): Predictor;

  /**
   * All of `generate`, but for where the denoising starts: asked with the run's scheduler when its timesteps are set. `steering` is
   * what steers besides the texts.
   */
  protected async run<T extends OutputType>(
    request: GenerateRequest, start: (scheduler: Scheduler) => DenoisingStart, steering?: Steering,
  ): Promise<GenerateOutput<T>> {
    steering?.check(request);
    return this.runningWithLoras(request.loraScale, async () => {
      request.signal?.throwIfAborted();
      this.scheduler.setTimesteps(request.steps, request.timestepsOptions); // as in diffusers, for all to see
      const scheduler = this.scheduler.clone(); // other pipelines may be at work with the same one
      scheduler.setTimesteps(request.steps, request.timestepsOptions);
      const readText = () => repeatTexts(this.encodeInputs(request), request);
      await this.prepareNetworks(request, readText, scheduler.timesteps);
      request.signal?.throwIfAborted();
      const text = tf.tidy(readText);
      try {
        steering?.begin(request, (...networks) => this.makeReady(...networks));
        if (request.detectAnomaly) await this.checkText(text);
        this.makeReady(this.vae); // some starts encode pictures
        if (request.outputType !== 'latent') this.recordDecoder(request.latentShape);
        const latents = await this.denoiseLatents(start(scheduler), text, scheduler, request, steering);
        this.makeReady(this.vae);
        const made = await this.toOutput(latents, request);
        const { images, ...others } = await this.check?.(made, request) ?? { images: made };
        const described = Array.isArray(images) ? describeImages(images, request, this.scheduler) : images;
        return { images: described, ...others } as GenerateOutput<T>;
      } finally {
        tf.dispose(text);
        steering?.end();
        scheduler.dispose();
      }
    }, request).catch(error => { throw explainOutOfMemory(error, this, request.latentShape); });
  }

  /** Looks at what was made before it is given, where something does. */
  protected check?(images: Image[] | tf.Tensor, request: GenerateRequest): Promise<CheckedPictures>;

  private async checkText({ encoderHiddenStates, textEmbeds }: EncodedTexts): Promise<void> {
    const { textEncoder } = this.promptEncoders.at(-1)!;
    const help = helpForNetwork(this.nameOf(textEncoder), textEncoder);
    await checkNumbers('the encoded text', encoderHiddenStates, help);
    if (textEmbeds) await checkNumbers('the text as a whole', textEmbeds, help);
  }

  /** All networks as they run for such a picture, but for what steers. */
  private async prepareNetworks(request: GenerateRequest, readText: () => EncodedTexts, timesteps: readonly number[]): Promise<void> {
    const { latentShape, guidance, outputType, prompts, imagePrompts } = request;
    const [images, height, width] = latentShape;
    const key = [latentShape, guidance.times, guidance.perturbedLayers, outputType, prompts?.length, imagePrompts !== undefined].join(' ');
    await this.prepare(key, () => {
      const sample = tf.zeros([images, height, width, this.denoiser.config.in_channels]);
      const { predict, dispose } = this.predictor(readText(), { timesteps, latents: sample }, request);
      this.makeReady(...this.denoisers);
      predict(sample, timesteps[0], 0);
      dispose?.();
      this.makeReady(this.vae);
      if (outputType !== 'latent') this.vae.decode(this.toVaeLatents(tf.zeros(latentShape)));
    });
  }

  /** Latents without noise. */
  private async denoiseLatents(
    start: DenoisingStart, text: EncodedTexts, scheduler: Scheduler, request: GenerateRequest, steering?: Steering,
  ): Promise<tf.Tensor> {
    const { numInferenceSteps, generator, eta, callbackOnStepEnd, detectAnomaly, signal } = request;
    const { denoiser } = this;
    const { timesteps } = start;
    this.numTimesteps = timesteps.length;
    const { predict, dispose } = this.predictor(text, start, request, steering);
    return this.denoise(this.denoisers, start, {
      scheduler, numInferenceSteps, signal, predict,
      endsWithOriginal: this.endsWithOriginal,
      stepOptions: { generator, eta, dtype: denoiser.weightDtype },
      afterStep: async ({ index, timestep, latents }) => {
        if (detectAnomaly) {
          const when = `after step ${index + 1} of ${timesteps.length} (timestep ${timestep})`;
          await checkNumbers(`the latents ${when}`, latents, helpForNetwork(this.nameOf(denoiser), denoiser));
        }
        const changed = await callbackOnStepEnd?.(this, index, timestep, { latents, numTimesteps: timesteps.length });
        return checkReturned(changed?.latents, latents);
      },
    }).finally(() => dispose?.());
  }

  /** How a step is guided: towards the end perhaps not at all. */
  protected guidanceAt(index: number, timesteps: readonly number[], { guidance, guidanceStop }: GenerateRequest): Guidance {
    return index < Math.floor(guidanceStop * timesteps.length) ? guidance : unguided;
  }
}

/**
 * Latents that a callback gave, if it did.
 * @throws TypeError, RangeError for what cannot take the place of `latents`, or if it disposed these.
 */
function checkReturned(given: unknown, latents: tf.Tensor): tf.Tensor | undefined {
  const name = 'callbackOnStepEnd: latents';
  if (given === undefined || given === null) {
    if (latents.isDisposed) throw new TypeError(`${name}: were disposed, and are only lent; return others, as in { latents }`);
    return undefined;
  }
  try {
    return checkTensor(name, given, latents.shape);
  } catch (error) {
    if (given instanceof tf.Tensor) given.dispose(); // it is taken over
    throw error;
  }
}

/** What to avoid, where guidance is by such, and what is wanted, each as often as it is predicted. */
function repeatTexts(text: EncodedTexts, { guided, guidance: { times, avoided } }: GenerateRequest): EncodedTexts {
  const kinds = guided ? 2 : 1;
  if (times === kinds) return text;
  return eachOf(text, x => {
    const parts = tf.split(x, kinds);
    return tf.concat([...Array<tf.Tensor>(avoided).fill(parts[0]), ...Array<tf.Tensor>(times - avoided).fill(parts[kinds - 1])]);
  });
}

/** Of all texts those that are wanted, once for each image. */
export function lastTexts(text: EncodedTexts, images: number): EncodedTexts {
  return eachOf(text, x => tf.slice(x, x.shape[0] - images));
}

function eachOf(text: EncodedTexts, change: (x: tf.Tensor) => tf.Tensor): EncodedTexts {
  const { encoderHiddenStates, textEmbeds, timestepCond, imagePrompts } = text;
  return {
    encoderHiddenStates: change(encoderHiddenStates), textEmbeds: textEmbeds && change(textEmbeds),
    timestepCond: timestepCond && change(timestepCond),
    imagePrompts: imagePrompts && { ...imagePrompts, states: imagePrompts.states.map(change) },
  };
}

/** Noise as strong as the scheduler begins with: `[images, height / vaeScaleFactor, width / vaeScaleFactor, channels]`. */
export function prepareLatents({ latents, latentShape, generator, dtype }: GenerateRequest, { initNoiseSigma }: Scheduler): tf.Tensor {
  return tf.tidy(() => (latents ?? randn(latentShape, generator, dtype)).mul(initNoiseSigma));
}
