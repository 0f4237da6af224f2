import { show } from '../core/checks.js';
import { flag, LAYERS, mergeConfig, optional, text, whole, wholes, type ConfigKey, type ConfigKeys } from './config.js';

/** What the networks of Stable Diffusion 3 are made by. The defaults are diffusers'. */
export interface SD3PathConfig {
  /** Height and width of the latents that the model was trained on. */
  sample_size: number;
  /** Height and width of the patches that it makes of latents. */
  patch_size: number;
  in_channels: number;
  num_layers: number;
  attention_head_dim: number;
  num_attention_heads: number;
  /** Features of the text that is attended to. */
  joint_attention_dim: number | null;
  /** Features of the text within the blocks: the same as of the image, `num_attention_heads * attention_head_dim`. */
  caption_projection_dim: number;
  /** Features of the text as one vector. */
  pooled_projection_dim: number;
  /** As many as in_channels if null. */
  out_channels: number | null;
  /** How many patches there are embeddings for in height and in width; null only where there are none. */
  pos_embed_max_size: number | null;
  /** The numbers of the layers in which the image has a second attention, to itself alone. */
  dual_attention_layers: number[];
  /** How queries and keys are normalized, if they are. */
  qk_norm: string | null;
  /** Which diffusers wrote the config. */
  _diffusers_version: string | null;
}

/** What an SD3 `transformer/config.json` says. The defaults are diffusers'. */
export interface SD3Transformer2DConfig extends SD3PathConfig {
  joint_attention_dim: number;
  pos_embed_max_size: number;
}

/** What an SD3 `controlnet/config.json` says. The defaults are diffusers'. */
export interface SD3ControlNetConfig extends SD3PathConfig {
  /** Null if it does not take the text, and its blocks are for the image alone. */
  joint_attention_dim: number | null;
  /** How many channels the picture to steer by has beyond those of latents, such as one for a mask. */
  extra_conditioning_channels: number;
  /** How the places of patches are embedded, if they are. */
  pos_embed_type: string | null;
  /** Whether it makes patches of latents itself, and does not take the transformer's. */
  use_pos_embed: boolean;
  /** Whether pipelines give it zeros in the place of the text's vector. */
  force_zeros_for_pooled_projection: boolean;
}

const PLACES = { most: 4096 };

const PATH_KEYS: ConfigKeys<Omit<SD3PathConfig, 'joint_attention_dim' | 'pos_embed_max_size'>> = {
  sample_size: whole(128),
  patch_size: whole(2, { most: 64 }),
  in_channels: whole(16),
  num_layers: whole(18, LAYERS),
  attention_head_dim: whole(64, { most: 4096 }),
  num_attention_heads: whole(18, { most: 4096 }),
  caption_projection_dim: whole(1152),
  pooled_projection_dim: whole(2048),
  out_channels: whole(16, { nullable: true }) as ConfigKey<number | null>,
  dual_attention_layers: wholes(LAYERS.most - 1),
  qk_norm: optional(text('rms_norm', { accepts: [null, 'rms_norm'] })),
  _diffusers_version: optional(text('0.42.1')),
};

const KEYS: ConfigKeys<SD3Transformer2DConfig> = {
  ...PATH_KEYS, joint_attention_dim: whole(4096), pos_embed_max_size: whole(96, PLACES),
};

/**
 * The whole config, checked.
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export function completeSD3Config(given: Partial<SD3Transformer2DConfig>): SD3Transformer2DConfig {
  return checkPathConfig('transformer config', mergeConfig('transformer config', KEYS, given));
}

const CONTROLNET_KEYS: ConfigKeys<SD3ControlNetConfig> = {
  ...PATH_KEYS,
  joint_attention_dim: whole(4096, { nullable: true }) as ConfigKey<number | null>,
  pos_embed_max_size: whole(96, { ...PLACES, nullable: true }) as ConfigKey<number | null>,
  extra_conditioning_channels: whole(0, { least: 0 }),
  pos_embed_type: text('sincos', { nullable: true, accepts: [null, 'sincos'] }) as ConfigKey<string | null>,
  use_pos_embed: flag(true),
  force_zeros_for_pooled_projection: flag(true),
};

/** The same of a ControlNet. @throws as completeSD3Config. */
export function completeSD3ControlNetConfig(given: Partial<SD3ControlNetConfig>): SD3ControlNetConfig {
  const config = checkPathConfig('controlnet config', mergeConfig('controlnet config', CONTROLNET_KEYS, given));
  if (config.pos_embed_max_size === null && config.use_pos_embed && config.pos_embed_type !== null) {
    throw new RangeError('controlnet config: pos_embed_max_size: got null, takes a number where use_pos_embed is true');
  }
  return config;
}

/** @throws RangeError for a config that contradicts itself. */
function checkPathConfig<C extends SD3PathConfig>(name: string, config: C): C {
  const dim = config.num_attention_heads * config.attention_head_dim;
  if (config.joint_attention_dim !== null && config.caption_projection_dim !== dim) {
    throw new RangeError(`${name}: caption_projection_dim: got ${show(config.caption_projection_dim)}, takes ${dim}, ` +
      'num_attention_heads times attention_head_dim');
  }
  return config;
}
