import { checkInteger, show } from '../core/checks.js';
import { flag, LAYERS_PER_BLOCK, mergeConfig, optional, real, text, whole, type ConfigKey, type ConfigKeys } from './config.js';

/** What `unet/config.json` says, as far as models that make latents along a text set it. The defaults are diffusers'. */
export interface UNet2DConditionConfig {
  /** Height and width of the latents that the model was trained on. */
  sample_size: number | [number, number] | null;
  in_channels: number;
  out_channels: number;
  center_input_sample: boolean;
  flip_sin_to_cos: boolean;
  freq_shift: number;
  down_block_types: string[];
  mid_block_type: string | null;
  up_block_types: string[];
  only_cross_attention: boolean | boolean[];
  block_out_channels: number[];
  layers_per_block: number | number[];
  downsample_padding: number;
  mid_block_scale_factor: number;
  /** Null in a UNet of K blocks, which has no norm at its end. */
  norm_num_groups: number | null;
  norm_eps: number;
  cross_attention_dim: number | number[];
  /**
   * Transformer layers: for all blocks, for each block, or for each layer of a block. The middle has as many as the first layer of the last
   * block.
   */
  transformer_layers_per_block: number | Array<number | number[]>;
  /** The same for the way up, from the middle on; null means as on the way down. */
  reverse_transformer_layers_per_block: Array<number | number[]> | null;
  /** Whether the projections around its transformers are linear layers in torch, and not convolutions: how checkpoints store them. */
  use_linear_projection: boolean;
  /** Features of the text, where they are projected to cross_attention_dim. */
  encoder_hid_dim: number | null;
  encoder_hid_dim_type: string | null;
  /** The number of heads: diffusers keeps the misnomer that its checkpoints have. In SimpleCrossAttn and K blocks, features of a head. */
  attention_head_dim: number | number[];
  act_fn: string;
  /** The embedding of the class that is added to the time embedding: from its number, or from a vector. */
  class_embed_type: string | null;
  num_class_embeds: number | null;
  /** Features of the class vector that is projected; with an addition_embed_type, those of all further conditions together. */
  projection_class_embeddings_input_dim: number | null;
  class_embeddings_concat: boolean;
  /** A further embedding that is added to the time embedding: `text_time`, which SDXL has, is of the pooled text and of some numbers. */
  addition_embed_type: string | null;
  /** Features of each of those numbers. */
  addition_time_embed_dim: number | null;
  resnet_time_scale_shift: string;
  /** For Resnet and SimpleCrossAttn blocks only, like the next key and cross_attention_norm. */
  resnet_skip_time_act: boolean;
  resnet_out_scale_factor: number;
  mid_block_only_cross_attention: boolean | null;
  cross_attention_norm: string | null;
  /** Features of a condition that is added to the timestep, such as the guidance scale of an LCM. */
  time_cond_proj_dim: number | null;
  time_embedding_dim: number | null;
  /** How the timestep is embedded: by sines at regular frequencies (`positional`), or at random ones (`fourier`). */
  time_embedding_type: string;
  /** An activation behind the time embedding. */
  timestep_post_act: string | null;
  conv_in_kernel: number;
  conv_out_kernel: number;
  /** Which diffusers wrote the config. */
  _diffusers_version: string | null;
}

/** What the way down is made by, of a UNet or of what goes the same way. */
export type UNetDownConfig = Omit<
  UNet2DConditionConfig, 'up_block_types' | 'reverse_transformer_layers_per_block' | 'out_channels' | 'conv_out_kernel'
>;

export const DOWN_KEYS: ConfigKeys<UNetDownConfig> = {
  sample_size: optional(whole(64, { listable: true })),
  in_channels: whole(4),
  center_input_sample: flag(false),
  flip_sin_to_cos: flag(true),
  freq_shift: real(0),
  down_block_types: text(['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D']),
  mid_block_type: text('UNetMidBlock2DCrossAttn', { nullable: true }),
  only_cross_attention: flag(false, { listable: true }),
  block_out_channels: whole([320, 640, 1280, 1280]),
  layers_per_block: whole(2, { ...LAYERS_PER_BLOCK, listable: true }),
  downsample_padding: whole(1, { least: 0 }),
  mid_block_scale_factor: real(1, { positive: true }),
  norm_num_groups: whole(32, { nullable: true }) as ConfigKey<number | null>,
  norm_eps: real(1e-5),
  cross_attention_dim: whole(1280, { listable: true }),
  transformer_layers_per_block: whole(1, { ...LAYERS_PER_BLOCK, least: 0, listable: true, nestable: true }),
  use_linear_projection: flag(false),
  encoder_hid_dim: optional(whole(1)),
  encoder_hid_dim_type: optional(text('text_proj', { accepts: [null, 'text_proj'] })),
  attention_head_dim: whole(8, { listable: true }),
  act_fn: text('silu'),
  class_embed_type: optional(text('timestep', { accepts: [null, 'timestep', 'identity', 'projection', 'simple_projection'] })),
  num_class_embeds: optional(whole(1)),
  projection_class_embeddings_input_dim: optional(whole(1)),
  class_embeddings_concat: flag(false),
  addition_embed_type: optional(text('text_time', { accepts: [null, 'text_time'] })),
  addition_time_embed_dim: optional(whole(1)),
  resnet_time_scale_shift: text('default', { accepts: ['default', 'scale_shift'] }),
  resnet_skip_time_act: flag(false),
  resnet_out_scale_factor: real(1, { positive: true }),
  mid_block_only_cross_attention: optional(flag(true)),
  cross_attention_norm: optional(text('group_norm', { accepts: [null, 'layer_norm', 'group_norm'] })),
  time_cond_proj_dim: optional(whole(1)),
  time_embedding_dim: optional(whole(1)),
  time_embedding_type: text('positional', { accepts: ['positional', 'fourier'] }),
  timestep_post_act: optional(text('silu')),
  conv_in_kernel: whole(3),
  _diffusers_version: optional(text('0.42.1')),
};

const KEYS: ConfigKeys<UNet2DConditionConfig> = {
  ...DOWN_KEYS,
  out_channels: whole(4),
  up_block_types: text(['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D']),
  reverse_transformer_layers_per_block: optional(whole(1, { ...LAYERS_PER_BLOCK, least: 0, listable: true, nestable: true })),
  conv_out_kernel: whole(3),
};

/** What Kandinsky, GLIGEN and others set otherwise. */
export const FOREIGN = {
  num_attention_heads: [null],
  dual_cross_attention: [false],
  time_embedding_act_fn: [null],
  attention_type: ['default'],
};

/**
 * The whole config, checked.
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export function completeUNetConfig(given: Partial<UNet2DConditionConfig>): UNet2DConditionConfig {
  const config = mergeConfig('unet config', KEYS, given, FOREIGN);
  checkDownConfig('unet config', config);
  checkInteger('unet config: conv_out_kernel', config.conv_out_kernel, 1);
  checkBlurring(config);
  if ([config.transformer_layers_per_block].flat().some(Array.isArray) && config.reverse_transformer_layers_per_block === null) {
    throw new RangeError('unet config: reverse_transformer_layers_per_block: got null, ' +
      'takes a list where transformer_layers_per_block has lists in it');
  }
  return config;
}

/** Whether it is made of k-diffusion's blocks, which blur where they halve and double, and are told the time by their norms. */
export function blurs({ down_block_types: types }: Pick<UNetDownConfig, 'down_block_types'>): boolean {
  return types.some(type => type.startsWith('K'));
}

/** @throws RangeError for a config of blocks that blur and of others, or for a key that does not go with either. */
function checkBlurring(config: UNet2DConditionConfig): void {
  const { down_block_types, up_block_types, norm_num_groups, mid_block_type } = config;
  const refuse = (key: keyof UNet2DConditionConfig, takes: string) => {
    throw new RangeError(`unet config: ${key}: got ${show(config[key])}, takes ${takes}`);
  };
  if (!blurs(config)) {
    if (norm_num_groups === null) refuse('norm_num_groups', 'a number where blocks are not K blocks');
    return;
  }
  for (const [key, types] of Object.entries({ down_block_types, up_block_types })) {
    if (!types.every(type => type.startsWith('K'))) refuse(key as 'up_block_types', 'K blocks alone, or none');
  }
  if (mid_block_type !== null) refuse('mid_block_type', 'null between K blocks');
}

/** @throws RangeError for a config whose way down contradicts itself. */
export function checkDownConfig(name: string, config: UNetDownConfig): void {
  const refuse = (key: keyof UNetDownConfig, takes: string) => {
    throw new RangeError(`${name}: ${key}: got ${show(config[key])}, takes ${takes}`);
  };
  checkInteger(`${name}: conv_in_kernel`, config.conv_in_kernel, 1);
  if (config.time_embedding_type === 'fourier') {
    if ((config.time_embedding_dim ?? 0) % 2 !== 0) refuse('time_embedding_dim', "an even number where time_embedding_type is 'fourier'");
    if (config.class_embed_type === 'timestep') refuse('class_embed_type', "another where time_embedding_type is 'fourier'");
  }
  if (config.class_embed_type?.endsWith('projection') && config.projection_class_embeddings_input_dim === null) {
    refuse('projection_class_embeddings_input_dim', `a number where class_embed_type is '${config.class_embed_type}'`);
  }
  if (config.class_embeddings_concat && config.class_embed_type === null && config.num_class_embeds === null) {
    refuse('class_embeddings_concat', 'false where there are neither class_embed_type nor num_class_embeds');
  }
  if (config.addition_embed_type !== null) {
    for (const key of ['addition_time_embed_dim', 'projection_class_embeddings_input_dim'] as const) {
      if (config[key] === null) refuse(key, `a number where addition_embed_type is '${config.addition_embed_type}'`);
    }
    if (config.class_embeddings_concat) {
      refuse('class_embeddings_concat', `false where addition_embed_type is '${config.addition_embed_type}'`);
    }
  }
  if (config.encoder_hid_dim_type !== null && config.encoder_hid_dim === null) {
    refuse('encoder_hid_dim', `a number where encoder_hid_dim_type is '${config.encoder_hid_dim_type}'`);
  }
  if (config.encoder_hid_dim !== null && Array.isArray(config.cross_attention_dim)) {
    refuse('cross_attention_dim', 'one number where there is an encoder_hid_dim');
  }
}
