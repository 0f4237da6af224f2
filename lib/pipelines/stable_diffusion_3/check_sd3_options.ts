import { checkInteger, checkNumber, show } from '../../core/checks.js';
import type { CLIPTextModelWithProjection } from '../../models/clip_text_model_with_projection.js';
import type { SD3Transformer2DModel } from '../../models/sd3_transformer_2d_model.js';
import type { FlowMatchEulerDiscreteConfig } from '../../schedulers/flow_match_euler_discrete.js';
import type { CLIPTokenizer } from '../../tokenizer/clip_tokenizer.js';
import { checkGenerateOptions, checkLoraScale, checkTexts, type Generating } from '../inputs/check_generate_options.js';
import { checkPooled, refuseBoth } from '../inputs/check_pooled.js';
import type { OutputType } from '../inputs/generate_options.js';
import { towardsText } from '../run/guidance.js';
import { checkSequenceLength, type T5Reader } from './join_encoders.js';
import type { SD3Options, SD3Request, SkipLayerOptions, SkipLayers } from './sd3_options.js';

/** What makes pictures: options are checked against it. */
export interface SD3Generating extends Generating, T5Reader {
  readonly textEncoder: CLIPTextModelWithProjection;
  readonly tokenizer: CLIPTokenizer;
  readonly textEncoder2: CLIPTextModelWithProjection;
}

/**
 * @param channels how many the transformer may take; those of the latents by default.
 * @throws TypeError or RangeError that names the option, what it got and what it takes.
 */
export function checkSD3Options(
  pipe: SD3Generating, prompt: string | string[] | undefined, options: SD3Options<OutputType> & SkipLayerOptions,
  channels: readonly number[] = [pipe.vae.config.latent_channels],
): SD3Request {
  const {
    prompt2, prompt3, negativePrompt2, negativePrompt3, pooledPromptEmbeds, negativePooledPromptEmbeds,
    jointAttentionKwargs, mu, maxSequenceLength: given, skipGuidanceLayers, skipLayerGuidanceScale, skipLayerGuidanceStart,
    skipLayerGuidanceStop, ...common
  } = options;
  const { promptEmbeds, negativePrompt, negativePromptEmbeds } = common;
  const { transformer, tokenizer, textEncoder, textEncoder2 } = pipe;
  const { pooled_projection_dim, joint_attention_dim: features } = transformer.config;
  checkParts(pipe, channels);
  const maxSequenceLength = checkSequenceLength(given);
  const request = checkGenerateOptions(pipe, prompt, common, {
    features, tokens: tokenizer.modelMaxLength + maxSequenceLength, guides: scale => scale > 1,
    clipLayers: Math.min(...[textEncoder, textEncoder2].map(({ config }) => config.num_hidden_layers)) - 1,
  });
  checkSides(pipe, request.latentShape);
  const { guided, guidanceScale, latentShape, numImagesPerPrompt, numInferenceSteps } = request;
  const batch = latentShape[0] / numImagesPerPrompt;
  for (const [name, text] of Object.entries({ prompt2, prompt3 })) refuseBoth({ [name]: text, promptEmbeds });
  for (const [name, text] of Object.entries({ negativePrompt2, negativePrompt3 })) refuseBoth({ [name]: text, negativePromptEmbeds });
  checkPooled({ promptEmbeds, pooledPromptEmbeds, negativePromptEmbeds, negativePooledPromptEmbeds }, batch, pooled_projection_dim);
  const read = (name: string, text: string | string[] | undefined, first: string | string[]) =>
    checkTexts(name, text || first, batch); // an empty one is none, as in diffusers
  const avoided = negativePrompt || '';
  const skip = { skipGuidanceLayers, skipLayerGuidanceScale, skipLayerGuidanceStart, skipLayerGuidanceStop };
  return {
    ...request, pooledPromptEmbeds, negativePooledPromptEmbeds, maxSequenceLength,
    loraScale: checkLoraScale('jointAttentionKwargs', jointAttentionKwargs),
    timestepsOptions: { mu: mu === undefined ? shiftOf(pipe, latentShape) : checkNumber('mu', mu) },
    allPrompts: prompt === undefined
      ? undefined : [request.prompts!, read('prompt2', prompt2, prompt), read('prompt3', prompt3, prompt)],
    allNegativePrompts: [
      request.negativePrompts, read('negativePrompt2', negativePrompt2, avoided), read('negativePrompt3', negativePrompt3, avoided),
    ],
    skipLayers: checkSkipLayers(transformer, skip, guided ? guidanceScale : undefined, numInferenceSteps),
  };
}

/** @throws RangeError for networks that do not fit each other. */
function checkParts(
  { transformer, textEncoder, textEncoder2, textEncoder3, tokenizer3 }: SD3Generating, channels: readonly number[],
): void {
  const { in_channels: got, joint_attention_dim: features, pooled_projection_dim: pooled } = transformer.config;
  if (!channels.includes(got)) {
    const hint = got > Math.max(...channels) ? '; one that sees a mask is for StableDiffusion3InpaintPipeline' : '';
    throw new RangeError(`transformer: in_channels: got ${got}, takes ${channels.join(' or ')}${hint}`);
  }
  const clips = [textEncoder, textEncoder2].map(({ config }) => config);
  const projected = clips.map(({ projection_dim }) => projection_dim);
  if (projected[0] + projected[1] !== pooled) {
    throw new RangeError(`textEncoder and textEncoder2: give ${projected.join(' + ')} features of a text as a whole, ` +
      `the transformer takes ${pooled}`);
  }
  const ofTokens = clips.map(({ hidden_size }) => hidden_size);
  if (ofTokens[0] + ofTokens[1] > features) {
    throw new RangeError(`textEncoder and textEncoder2: give ${ofTokens.join(' + ')} features, the transformer takes up to ${features}`);
  }
  if (textEncoder3 && textEncoder3.config.d_model !== features) {
    throw new RangeError(`textEncoder3: gives ${textEncoder3.config.d_model} features, the transformer takes ${features}`);
  }
  if (textEncoder3 && !tokenizer3) throw new TypeError('tokenizer3: got none, takes that of textEncoder3, or none of the two');
}

/** @throws RangeError for a picture of more patches along a side than the transformer knows places for. */
function checkSides({ transformer, vaeScaleFactor }: SD3Generating, [, ...sides]: readonly number[]): void {
  const { patch_size: patch, pos_embed_max_size: most } = transformer.config;
  ['height', 'width'].forEach((name, i) => {
    if (sides[i] / patch <= most) return;
    throw new RangeError(`${name}: got ${sides[i] * vaeScaleFactor}, takes up to ${most * patch * vaeScaleFactor} pixels with this model`);
  });
}

/** The shift for so many patches, where the scheduler has one that depends on them. Equals calculate_shift of diffusers' pipelines. */
function shiftOf({ scheduler, transformer }: SD3Generating, [, height, width]: readonly number[]): number | undefined {
  const config = scheduler.config as unknown as Partial<FlowMatchEulerDiscreteConfig>;
  if (!config.use_dynamic_shifting) return undefined;
  const { base_image_seq_len: from = 256, max_image_seq_len: to = 4096, base_shift: least = 0.5, max_shift: most = 1.16 } = config;
  const patches = (height / transformer.config.patch_size) * (width / transformer.config.patch_size);
  const slope = (most - least) / (to - from);
  return patches * slope + (least - slope * from);
}

function checkSkipLayers(
  { config: { num_layers: count } }: SD3Transformer2DModel,
  { skipGuidanceLayers: layers, skipLayerGuidanceScale, skipLayerGuidanceStart, skipLayerGuidanceStop }: SkipLayerOptions,
  guidanceScale: number | undefined, steps: number,
): SkipLayers | undefined {
  const scale = checkNumber('skipLayerGuidanceScale', skipLayerGuidanceScale ?? 2.8);
  const start = checkNumber('skipLayerGuidanceStart', skipLayerGuidanceStart ?? 0.01, 0, 1);
  const stop = checkNumber('skipLayerGuidanceStop', skipLayerGuidanceStop ?? 0.2, 0, 1);
  if (layers === undefined) return undefined;
  if (!Array.isArray(layers) || layers.length === 0) {
    throw new TypeError(`skipGuidanceLayers: got ${show(layers)}, takes a list of layers, as in [7, 8, 9]`);
  }
  layers.forEach(layer => checkInteger('skipGuidanceLayers', layer, 0, count - 1));
  if (guidanceScale === undefined) return undefined; // as diffusers, which skips layers with guidance alone
  return {
    layers, actsAt: index => index > steps * start && index < steps * stop,
    guidance: towardsText({ scale: guidanceScale, rescale: 0 }, { layers: layers.map(String), scaleAt: () => scale }),
  };
}
