import * as tf from '@tensorflow/tfjs';
import { checkShape, show } from '../../core/checks.js';
import { randn } from '../../core/random.js';
import { getGuidanceScaleEmbedding } from '../../layers/timestep_embedding.js';
import { DeepCache } from '../../models/deep_cache.js';
import type { Image } from '../../image/image.js';
import type { ImagePrompts } from '../../layers/ip_adapter_attention.js';
import type { UNet2DConditionConfig } from '../../models/unet_2d_condition_config.js';
import type { UNetConditions } from '../../models/unet_down_path.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { DenoisingOptions, DenoisingStart } from '../run/denoise.js';
import { describeImages } from './describe_images.js';
import type { GenerateOutput, GenerateRequest, OutputType } from '../inputs/generate_options.js';
import { ImagePromptPipeline } from './image_prompt_pipeline.js';
import { encodeImagePrompts } from '../inputs/image_prompts.js';
import { unguided } from '../run/guidance.js';
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
  /** Each as a whole, where the UNet is told that: `[texts, features]`. */
  textEmbeds?: tf.Tensor;
  /** What else is added to the timestep for each, where the UNet is told that: `[texts, time_cond_proj_dim]`. */
  timestepCond?: tf.Tensor;
  /** Pictures that lead besides them. */
  imagePrompts?: ImagePrompts;
};

/** A pipeline whose UNet is led by prompts, towards one and away from another: all of `generate` but for options, texts and beginnings. */
export abstract class GuidedPipeline extends ImagePromptPipeline {
  abstract scheduler: Scheduler;
  /** What the names of the family's pipelines begin with. */
  abstract readonly familyName: string;
  /** Whether the result is what the last step predicts without noise, whatever noise it adds again. */
  protected readonly endsWithOriginal: boolean = false;
  /** How many steps the run takes that began last: fewer than were asked for from a picture on, more with some schedulers. */
  numTimesteps = 0;

  /** What `generate` takes where its options say nothing. */
  abstract get defaults(): { readonly numInferenceSteps: number; readonly guidanceScale: number };

  /** Height and width of the latents where `generate` is told no size. */
  abstract get defaultSampleSize(): UNet2DConditionConfig['sample_size'];

  /** Reads the texts, each by an encoder that is made ready before. In a tidy. */
  protected abstract encodePrompts(request: GenerateRequest): EncodedTexts;

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
      const readText = () => repeatTexts({ ...this.encodePrompts(request), ...this.encodeImages(request) }, request);
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

  private encodeImages({ imagePrompts, guided, latentShape }: GenerateRequest): Pick<EncodedTexts, 'imagePrompts'> {
    if (!imagePrompts) return {};
    this.makeReady(...this.imageEncoder ? [this.imageEncoder] : []);
    return { imagePrompts: encodeImagePrompts(this, imagePrompts, guided, latentShape, this.vaeScaleFactor) };
  }

  private async checkText({ encoderHiddenStates, textEmbeds }: EncodedTexts): Promise<void> {
    const help = helpForNetwork('textEncoder', this.promptEncoders.at(-1)!.textEncoder);
    await checkNumbers('the encoded text', encoderHiddenStates, help);
    if (textEmbeds) await checkNumbers('the text as a whole', textEmbeds, help);
  }

  /** All networks as they run for such a picture, but for what steers. */
  private async prepareNetworks(request: GenerateRequest, readText: () => EncodedTexts, timesteps: readonly number[]): Promise<void> {
    const { latentShape, guidance, outputType, prompts, imagePrompts } = request;
    const [images, height, width] = latentShape;
    const key = [latentShape, guidance.times, guidance.perturbedLayers, outputType, prompts?.length, imagePrompts !== undefined].join(' ');
    await this.prepare(key, () => {
      const sample = tf.zeros([images, height, width, this.unet.config.in_channels]);
      const predict = this.predictor(readText(), { timesteps, latents: sample }, request);
      this.makeReady(...this.denoisers);
      predict(sample, timesteps[0], 0);
      this.makeReady(this.vae);
      if (outputType !== 'latent') this.vae.decode(this.toVaeLatents(tf.zeros(latentShape)));
    });
  }

  /** Latents without noise. */
  private async denoiseLatents(
    start: DenoisingStart, text: EncodedTexts, scheduler: Scheduler, request: GenerateRequest, steering?: Steering,
  ): Promise<tf.Tensor> {
    const { numInferenceSteps, generator, eta, callbackOnStepEnd, detectAnomaly, signal } = request;
    const { unet } = this;
    const { timesteps } = start;
    this.numTimesteps = timesteps.length;
    const deepCache = this.deepCacheOptions && new DeepCache(timesteps, this.deepCacheOptions);
    return this.denoise(this.denoisers, start, {
      scheduler, numInferenceSteps, signal,
      endsWithOriginal: this.endsWithOriginal,
      stepOptions: { generator, eta, dtype: unet.weightDtype },
      predict: this.predictor(text, start, request, deepCache, steering),
      afterStep: async ({ index, timestep, latents }) => {
        if (detectAnomaly) {
          const when = `after step ${index + 1} of ${timesteps.length} (timestep ${timestep})`;
          await checkNumbers(`the latents ${when}`, latents, helpForNetwork('unet', unet));
        }
        const changed = await callbackOnStepEnd?.(this, index, timestep, { latents });
        return checkReturned(changed?.latents, latents);
      },
    }).finally(() => deepCache?.dispose());
  }

  /** What the UNet says of a sample, led by the texts and by what is told besides. */
  private predictor(
    text: EncodedTexts, { timesteps, wholeSteps = timesteps.length }: DenoisingStart, request: GenerateRequest, deepCache?: DeepCache,
    steering?: Steering,
  ): DenoisingOptions['predict'] {
    const { guidanceStop, guidanceScale, timeIds, classLabels, latentShape: [images] } = request;
    const { time_cond_proj_dim: conditionDim } = this.unet.config; // of models that were distilled with guidance, and are told its scale
    const guidedSteps = Math.floor(guidanceStop * timesteps.length);
    const { wanted = [], avoided = [] } = timeIds ?? {};
    const rows = (ids: readonly number[], times: number) => Array<readonly number[]>(times * images).fill(ids);
    return (sample, timestep, index) => {
      const ofScale = conditionDim === null || text.timestepCond ? undefined : getGuidanceScaleEmbedding([guidanceScale], conditionDim);
      const guidance = index < guidedSteps ? request.guidance : unguided;
      const { times, perturbedLayers: layers } = guidance;
      const seen = guidance.spread(sample);
      const texts = guidance === request.guidance ? text : lastTexts(text, images);
      const { encoderHiddenStates, textEmbeds, imagePrompts, timestepCond = ofScale } = texts;
      const addedCondKwargs = textEmbeds && {
        textEmbeds, timeIds: [...rows(avoided, guidance.avoided), ...rows(wanted, times - guidance.avoided)],
      };
      const conditions: UNetConditions = { encoderHiddenStates, addedCondKwargs, timestepCond, classLabels };
      const place = { timestep, index, steps: timesteps.length, wholeSteps };
      const additions = steering?.add({ ...place, sample: seen, conditions, guidance });
      const perturbed = layers && { layers, samples: images };
      const predictions = this.unet.forward(seen, timestep, { ...conditions, ...additions, imagePrompts, deepCache, perturbed });
      return guidance.combine(predictions, timestep);
    };
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
  if (!(given instanceof tf.Tensor) || given.isDisposed) throw new TypeError(`${name}: got ${show(given)}, takes a tensor`);
  try {
    checkShape(name, given.shape, latents.shape);
  } catch (error) {
    given.dispose(); // it is taken over
    throw error;
  }
  return given;
}

/** What to avoid, where guidance is by such, and what is wanted, each as often as the UNet predicts it. */
function repeatTexts(text: EncodedTexts, { guided, guidance: { times, avoided } }: GenerateRequest): EncodedTexts {
  const kinds = guided ? 2 : 1;
  if (times === kinds) return text;
  return eachOf(text, x => {
    const parts = tf.split(x, kinds);
    return tf.concat([...Array<tf.Tensor>(avoided).fill(parts[0]), ...Array<tf.Tensor>(times - avoided).fill(parts[kinds - 1])]);
  });
}

/** Of all texts those that are wanted, once for each image. */
function lastTexts(text: EncodedTexts, images: number): EncodedTexts {
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
