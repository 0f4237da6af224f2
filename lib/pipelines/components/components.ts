import { learnBundledWords } from '../../adapters/learned_words.js';
import { BUNDLED_WORDS } from '../../checkpoints/bundled_words.js';
import { readStateDict } from '../../loading/state_dict.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import { AutoencoderKL } from '../../models/autoencoder_kl.js';
import { AutoencoderTiny } from '../../models/autoencoder_tiny.js';
import { CLIPImageProcessor } from '../../models/clip_image_processor.js';
import { CLIPTextModel } from '../../models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../../models/clip_text_model_with_projection.js';
import { CLIPVisionModelWithProjection } from '../../models/clip_vision_model.js';
import { ControlNetModel } from '../../models/controlnet.js';
import { ControlNetUnionModel } from '../../models/controlnet_union.js';
import { MultiAdapter, type Adapters } from '../../models/multi_adapter.js';
import type { ControlNets } from '../../models/controlnets.js';
import { MultiControlNetModel } from '../../models/multi_controlnet.js';
import { MultiControlNetUnionModel } from '../../models/multi_controlnet_union.js';
import { SD3ControlNetModel } from '../../models/sd3_controlnet.js';
import { SD3MultiControlNetModel, type SD3ControlNets } from '../../models/sd3_multi_controlnet.js';
import { SD3Transformer2DModel } from '../../models/sd3_transformer_2d_model.js';
import { StableDiffusionSafetyChecker } from '../../models/safety_checker.js';
import { T2IAdapter } from '../../models/t2i_adapter.js';
import { T5EncoderModel } from '../../models/t5_encoder_model.js';
import { UNet2DConditionModel } from '../../models/unet_2d_condition_model.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { CLIPTokenizer } from '../../tokenizer/clip_tokenizer.js';
import type { T5Tokenizer } from '../../tokenizer/t5_tokenizer.js';
import {
  count, flag, imageProcessor, network, oneOrSeveral, scheduler, t5Tokenizer, tokenizer, upcast, type Family,
} from './component.js';

/** The components that read pictures for IP-Adapters. */
export interface ImageComponents {
  /** Encodes the pictures. */
  imageEncoder?: CLIPVisionModelWithProjection;
  /** Resizes and normalizes pictures for `imageEncoder`. */
  featureExtractor?: CLIPImageProcessor;
}

const images: Family<ImageComponents>['components'] = {
  imageEncoder: { ...network('image_encoder', CLIPVisionModelWithProjection), optional: true },
  featureExtractor: imageProcessor(['imageEncoder', 'safetyChecker']),
};

/** The components of Stable Diffusion 1.x and 2.x. */
export interface StableDiffusionComponents extends ImageComponents {
  /** Pictures to latents, and latents to pictures. */
  vae: Autoencoder;
  /** Prompts to hidden states. */
  textEncoder: CLIPTextModel;
  /** The tokenizer of `textEncoder`. */
  tokenizer: CLIPTokenizer;
  /** The network that denoises. */
  unet: UNet2DConditionModel;
  /** Says which steps to take, and takes them. */
  scheduler: Scheduler;
  /** Checks the finished pictures, if there is one. `fromPretrained` loads the folder's for `safetyChecker: true`. */
  safetyChecker?: StableDiffusionSafetyChecker;
}

const checker = network('safety_checker', StableDiffusionSafetyChecker);

export const stableDiffusion: Family<StableDiffusionComponents> = {
  components: {
    scheduler: scheduler(),
    tokenizer: tokenizer(),
    textEncoder: network('text_encoder', CLIPTextModel, CLIPTextModelWithProjection),
    unet: network('unet', UNet2DConditionModel),
    vae: network<Autoencoder>('vae', AutoencoderKL, AutoencoderTiny),
    ...images,
    safetyChecker: {
      ...checker, optional: true, onlyIfAsked: true,
      entries: value => ({ ...checker.entries(value), requires_safety_checker: value !== undefined }),
    },
  },
  async takeExtras(components, folder, given) {
    if (given.textEncoder || given.tokenizer || !await folder.has(BUNDLED_WORDS)) return; // what is given stays as it is
    const { tensors } = await readStateDict(folder, BUNDLED_WORDS);
    learnBundledWords([components], folder.name, new Map([...tensors].map(([word, tensor]) => [word, [tensor]])));
  },
};

/** The same, steered by ControlNets. */
export interface ControlNetComponents extends StableDiffusionComponents {
  /** One ControlNet or several. */
  controlnet: ControlNets;
}

const controlnet = oneOrSeveral<ControlNets>('controlnet', ControlNetModel, MultiControlNetModel);

export const controlledStableDiffusion: Family<ControlNetComponents> = {
  ...stableDiffusion, components: { ...stableDiffusion.components, controlnet },
};

/** The same, steered by T2I-Adapters. */
export interface AdapterComponents extends StableDiffusionComponents {
  /** One T2I-Adapter or several. */
  adapter: Adapters;
}

const adapter = oneOrSeveral<Adapters>('adapter', T2IAdapter, MultiAdapter);

export const adaptedStableDiffusion: Family<AdapterComponents> = {
  ...stableDiffusion, components: { ...stableDiffusion.components, adapter },
};

/** The same, to enlarge pictures. */
export interface UpscaleComponents extends StableDiffusionComponents {
  /** Adds noise to the small picture. */
  lowResScheduler: Scheduler;
  /** The largest noise level that the UNet was trained with; 350 by default. */
  maxNoiseLevel?: number;
}

export const upscalingStableDiffusion: Family<UpscaleComponents> = {
  ...stableDiffusion,
  components: {
    ...stableDiffusion.components,
    vae: upcast(stableDiffusion.components.vae),
    lowResScheduler: scheduler('low_res_scheduler'),
    maxNoiseLevel: count('max_noise_level'),
  },
};

/** The components of Stable Diffusion XL. */
export interface StableDiffusionXLComponents extends ImageComponents {
  /** Pictures to latents, and latents to pictures. */
  vae: Autoencoder;
  /** The first text encoder; a refiner has only the second. */
  textEncoder?: CLIPTextModel;
  /** The tokenizer of `textEncoder`. */
  tokenizer?: CLIPTokenizer;
  /** The second text encoder, which also gives one vector for each text. */
  textEncoder2: CLIPTextModelWithProjection;
  /** The tokenizer of `textEncoder2`. */
  tokenizer2: CLIPTokenizer;
  /** The network that denoises. */
  unet: UNet2DConditionModel;
  /** Says which steps to take, and takes them. */
  scheduler: Scheduler;
  /** Whether zeros, and not an empty text, stand for a negative prompt that is not given; true by default. */
  forceZerosForEmptyPrompt?: boolean;
  /** Whether the UNet is told an aesthetic score instead of a target size, as a refiner is; false by default. */
  requiresAestheticsScore?: boolean;
}

export const stableDiffusionXL: Family<StableDiffusionXLComponents> = {
  components: {
    scheduler: scheduler(),
    tokenizer: { ...tokenizer(), optional: true },
    tokenizer2: tokenizer('tokenizer_2'),
    textEncoder: { ...network('text_encoder', CLIPTextModel, CLIPTextModelWithProjection), optional: true },
    textEncoder2: network('text_encoder_2', CLIPTextModelWithProjection),
    unet: network('unet', UNet2DConditionModel),
    vae: upcast(network<Autoencoder>('vae', AutoencoderKL, AutoencoderTiny)),
    ...images,
    forceZerosForEmptyPrompt: flag('force_zeros_for_empty_prompt'),
    requiresAestheticsScore: flag('requires_aesthetics_score', false),
  },
};

/** The same, steered. */
export type XLControlNetComponents = StableDiffusionXLComponents & Pick<ControlNetComponents, 'controlnet'>;

export const controlledStableDiffusionXL: Family<XLControlNetComponents> = {
  components: { ...stableDiffusionXL.components, controlnet },
};

/** The same, steered by a ControlNet that has several modes. */
export const unionControlledStableDiffusionXL: Family<XLControlNetComponents> = {
  components: {
    ...stableDiffusionXL.components, controlnet: oneOrSeveral<ControlNets>('controlnet', ControlNetUnionModel, MultiControlNetUnionModel),
  },
};

/** The same, steered by T2I-Adapters. */
export type XLAdapterComponents = StableDiffusionXLComponents & Pick<AdapterComponents, 'adapter'>;

export const adaptedStableDiffusionXL: Family<XLAdapterComponents> = {
  components: { ...stableDiffusionXL.components, adapter },
};

/** The same, for InstructPix2Pix. */
export interface XLInstructPix2PixComponents extends StableDiffusionXLComponents {
  /** Whether the UNet sees the picture's latents scaled, as CosXL Edit's does; false by default. */
  isCosxlEdit?: boolean;
}

export const editingStableDiffusionXL: Family<XLInstructPix2PixComponents> = {
  components: { ...stableDiffusionXL.components, isCosxlEdit: flag('is_cosxl_edit', false) },
};

/** The components of Stable Diffusion 3. */
export interface StableDiffusion3Components {
  /** Pictures to latents, and latents to pictures. */
  vae: Autoencoder;
  /** The first text encoder, which also gives one vector for each text. */
  textEncoder: CLIPTextModelWithProjection;
  /** The tokenizer of `textEncoder`. */
  tokenizer: CLIPTokenizer;
  /** The second text encoder, which also gives one vector for each text. */
  textEncoder2: CLIPTextModelWithProjection;
  /** The tokenizer of `textEncoder2`. */
  tokenizer2: CLIPTokenizer;
  /** T5; `fromPretrained` leaves it out for `textEncoder3: null`, and where it has no tokenizer. */
  textEncoder3?: T5EncoderModel;
  /** The tokenizer of `textEncoder3`. */
  tokenizer3?: T5Tokenizer;
  /** The network that denoises. */
  transformer: SD3Transformer2DModel;
  /** Says which steps to take, and takes them. */
  scheduler: Scheduler;
}

export const stableDiffusion3: Family<StableDiffusion3Components> = {
  components: {
    scheduler: scheduler(),
    tokenizer: tokenizer(),
    tokenizer2: tokenizer('tokenizer_2'),
    tokenizer3: { ...t5Tokenizer('tokenizer_3'), optional: true },
    textEncoder: network('text_encoder', CLIPTextModelWithProjection),
    textEncoder2: network('text_encoder_2', CLIPTextModelWithProjection),
    textEncoder3: { ...network('text_encoder_3', T5EncoderModel), optional: true, serves: ['tokenizer3'] },
    transformer: network('transformer', SD3Transformer2DModel),
    vae: network<Autoencoder>('vae', AutoencoderKL, AutoencoderTiny),
  },
  async takeExtras({ textEncoder3, tokenizer3 }, folder, given) {
    if (textEncoder3 || given.textEncoder3 === null || tokenizer3 || !await folder.has('text_encoder_3/config.json')) return;
    console.warn(`${folder.name}: its T5 is not loaded, for it has no tokenizer, and pictures are made without; to have it, pass ` +
      "tokenizer3: await T5Tokenizer.fromPretrained('stabilityai/stable-diffusion-3-medium-diffusers', { subfolder: 'tokenizer_3' })");
  },
};

/** The same, steered by ControlNets. */
export interface SD3ControlNetComponents extends StableDiffusion3Components {
  /** One ControlNet or several. */
  controlnet: SD3ControlNets;
}

export const controlledStableDiffusion3: Family<SD3ControlNetComponents> = {
  ...stableDiffusion3,
  components: {
    ...stableDiffusion3.components, controlnet: oneOrSeveral<SD3ControlNets>('controlnet', SD3ControlNetModel, SD3MultiControlNetModel),
  },
};
