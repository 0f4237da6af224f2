import * as tf from '@tensorflow/tfjs';
import type { PromptEncoder } from '../../adapters/learned_words.js';
import { checkOptionNames } from '../../core/checks.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import type { CLIPTextModelWithProjection } from '../../models/clip_text_model_with_projection.js';
import type { SD3Transformer2DModel } from '../../models/sd3_transformer_2d_model.js';
import type { T5EncoderModel } from '../../models/t5_encoder_model.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { CLIPTokenizer } from '../../tokenizer/clip_tokenizer.js';
import type { T5Tokenizer } from '../../tokenizer/t5_tokenizer.js';
import { GuidedPipeline, lastTexts, prepareLatents, type EncodedTexts, type Predictor } from '../base/guided_pipeline.js';
import { stableDiffusion3, type StableDiffusion3Components } from '../components/components.js';
import { encodePenultimate, joinTexts, takeOrEncode, type EncodedWhole } from '../inputs/encode_prompt.js';
import type { GenerateOutput, OutputType } from '../inputs/generate_options.js';
import type { SD3Steering } from '../inputs/steering.js';
import type { DenoisingStart } from '../run/denoise.js';
import { checkSD3Options } from './check_sd3_options.js';
import { joinEncoders } from './join_encoders.js';
import { SD3_OPTIONS, SKIP_LAYER_OPTIONS, type SD3Options, type SD3Request, type SkipLayerOptions } from './sd3_options.js';

/**
 * Text to image by Stable Diffusion 3 and 3.5 (arXiv:2403.03206): a transformer that predicts a flow from noise to picture, and three text
 * encoders. The largest, T5, can be left out, for less memory; long prompts are then followed less closely.
 * Equals diffusers' StableDiffusion3Pipeline.
 */
export class StableDiffusion3Pipeline extends GuidedPipeline implements StableDiffusion3Components {
  static readonly family = stableDiffusion3;
  vae: Autoencoder;
  textEncoder: CLIPTextModelWithProjection;
  tokenizer: CLIPTokenizer;
  textEncoder2: CLIPTextModelWithProjection;
  tokenizer2: CLIPTokenizer;
  textEncoder3?: T5EncoderModel;
  tokenizer3?: T5Tokenizer;
  transformer: SD3Transformer2DModel;
  scheduler: Scheduler;

  constructor(components: StableDiffusion3Components) {
    super();
    this.vae = components.vae;
    this.textEncoder = components.textEncoder;
    this.tokenizer = components.tokenizer;
    this.textEncoder2 = components.textEncoder2;
    this.tokenizer2 = components.tokenizer2;
    this.textEncoder3 = components.textEncoder3;
    this.tokenizer3 = components.tokenizer3;
    this.transformer = components.transformer;
    this.scheduler = components.scheduler;
  }

  override get denoiser(): SD3Transformer2DModel {
    return this.transformer;
  }

  override get defaultSampleSize(): number {
    return this.transformer.config.sample_size;
  }

  /** Height and width must be multiples of it, in pixels: `vaeScaleFactor` times the size of the transformer's patches. */
  override get sideFactor(): number {
    return this.vaeScaleFactor * this.transformer.config.patch_size;
  }

  override get defaults(): { readonly numInferenceSteps: number; readonly guidanceScale: number } {
    return { numInferenceSteps: 28, guidanceScale: 7 };
  }

  /** The pipeline's parts; another pipeline can be made of the same ones. */
  get components(): StableDiffusion3Components {
    const { vae, textEncoder, tokenizer, textEncoder2, tokenizer2, textEncoder3, tokenizer3, transformer, scheduler } = this;
    return { vae, textEncoder, tokenizer, textEncoder2, tokenizer2, textEncoder3, tokenizer3, transformer, scheduler };
  }

  /** CLIP's two, which learn words; T5 does not. */
  override get promptEncoders(): ReadonlyArray<PromptEncoder & { readonly textEncoder: CLIPTextModelWithProjection }> {
    const { textEncoder, tokenizer, textEncoder2, tokenizer2 } = this;
    return [{ textEncoder, tokenizer }, { textEncoder: textEncoder2, tokenizer: tokenizer2 }];
  }

  /**
   * Makes images of prompts.
   * @throws TypeError or RangeError for options that do not fit, before any work; the signal's reason when aborted.
   */
  async generate<T extends OutputType = 'image'>(
    prompt?: string | string[], options: SD3Options<T> & SkipLayerOptions = {},
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, [...SD3_OPTIONS, ...SKIP_LAYER_OPTIONS]);
    return this.generateFromNoise(prompt, options);
  }

  /** `generate`, for options whose names are checked; `steering` is what steers besides. */
  protected generateFromNoise<T extends OutputType>(
    prompt: string | string[] | undefined, options: SD3Options<T> & SkipLayerOptions, steering?: SD3Steering,
  ): Promise<GenerateOutput<T>> {
    const request = checkSD3Options(this, prompt, options);
    return this.run(request, scheduler => ({ latents: prepareLatents(request, scheduler), timesteps: scheduler.timesteps }), steering);
  }

  protected override encodePrompts(request: SD3Request): EncodedTexts {
    const { promptEmbeds, negativePromptEmbeds, pooledPromptEmbeds, negativePooledPromptEmbeds } = request;
    const { allPrompts, allNegativePrompts, numImagesPerPrompt, clipSkip, maxSequenceLength, guided } = request;
    const wanted = takeOrEncode(promptEmbeds, pooledPromptEmbeds, () => this.encodeTexts(allPrompts!, maxSequenceLength, clipSkip));
    if (!guided) return joinTexts([wanted], numImagesPerPrompt);
    const avoided = takeOrEncode(negativePromptEmbeds, negativePooledPromptEmbeds, () => (
      this.encodeTexts(allNegativePrompts, maxSequenceLength)
    ));
    return joinTexts([avoided, wanted], numImagesPerPrompt);
  }

  /** The states of all text encoders, and each text as a whole. */
  private encodeTexts([first, second, third]: readonly string[][], maxSequenceLength: number, clipSkip?: number): EncodedWhole {
    const tokens = this.tokenizer.modelMaxLength;
    const ofClip = this.promptEncoders.map((encoder, i) => {
      this.makeReady(encoder.textEncoder);
      return encodePenultimate(encoder, [first, second][i], { tokens, clipSkip }) as EncodedWhole;
    });
    if (this.textEncoder3) this.makeReady(this.textEncoder3);
    return joinEncoders(this, ofClip, third, maxSequenceLength);
  }

  protected override predictor(
    text: EncodedTexts, { timesteps, wholeSteps = timesteps.length }: DenoisingStart, request: SD3Request, steering?: SD3Steering,
  ): Predictor {
    const { skipLayers, latentShape: [images] } = request;
    const told = ({ encoderHiddenStates, textEmbeds }: EncodedTexts) => ({ encoderHiddenStates, pooledProjections: textEmbeds! });
    const predict = (sample: tf.Tensor, timestep: number, index: number) => {
      const guidance = this.guidanceAt(index, timesteps, request);
      const isWhole = guidance === request.guidance;
      const seen = guidance.spread(sample);
      const conditions = told(isWhole ? text : lastTexts(text, images));
      const additions = steering?.add({ timestep, index, steps: timesteps.length, wholeSteps, sample: seen, conditions, guidance });
      const predictions = this.transformer.forward(seen, timestep, { ...conditions, ...additions });
      if (!isWhole || !skipLayers?.actsAt(index)) return guidance.combine(predictions, timestep);
      const without = this.transformer.forward(sample, timestep, { ...told(lastTexts(text, images)), skipLayers: skipLayers.layers });
      return skipLayers.guidance.combine(tf.concat([predictions, without]), timestep);
    };
    return { predict };
  }
}
