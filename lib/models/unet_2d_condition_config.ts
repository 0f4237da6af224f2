import { checkInteger, show } from '../core/checks.js';
import { mergeConfig, type ConfigRules } from './config.js';

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
  norm_num_groups: number;
  norm_eps: number;
  cross_attention_dim: number | number[];
  /** Of a whole, a block, or each layer of a block; the middle has as many as the first layer of the last block. */
  transformer_layers_per_block: number | Array<number | number[]>;
  /** The same of the way up, from the middle on; as on the way down if null. */
  reverse_transformer_layers_per_block: Array<number | number[]> | null;
  /** Features of the text, where they are projected to cross_attention_dim. */
  encoder_hid_dim: number | null;
  encoder_hid_dim_type: string | null;
  /** The number of heads, whatever its name says: diffusers keeps the misnomer that its checkpoints have. In SimpleCrossAttn blocks, features of a head. */
  attention_head_dim: number | number[];
  act_fn: string;
  /** What is added to the time embedding for a class: of its number, or of a vector of its own. */
  class_embed_type: string | null;
  num_class_embeds: number | null;
  projection_class_embeddings_input_dim: number | null;
  class_embeddings_concat: boolean;
  resnet_time_scale_shift: string;
  /** Of Resnet and SimpleCrossAttn blocks alone, as the next, and cross_attention_norm. */
  resnet_skip_time_act: boolean;
  resnet_out_scale_factor: number;
  mid_block_only_cross_attention: boolean | null;
  cross_attention_norm: string | null;
  /** Features of a condition that is added to the timestep, as of the guidance that an LCM is distilled with. */
  time_cond_proj_dim: number | null;
  time_embedding_dim: number | null;
  conv_in_kernel: number;
  conv_out_kernel: number;
  /** Which diffusers wrote the config. */
  _diffusers_version: string | null;
}

const DEFAULTS: UNet2DConditionConfig = {
  sample_size: null,
  in_channels: 4,
  out_channels: 4,
  center_input_sample: false,
  flip_sin_to_cos: true,
  freq_shift: 0,
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  mid_block_type: 'UNetMidBlock2DCrossAttn',
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
  only_cross_attention: false,
  block_out_channels: [320, 640, 1280, 1280],
  layers_per_block: 2,
  downsample_padding: 1,
  mid_block_scale_factor: 1,
  norm_num_groups: 32,
  norm_eps: 1e-5,
  cross_attention_dim: 1280,
  transformer_layers_per_block: 1,
  reverse_transformer_layers_per_block: null,
  encoder_hid_dim: null,
  encoder_hid_dim_type: null,
  attention_head_dim: 8,
  act_fn: 'silu',
  class_embed_type: null,
  num_class_embeds: null,
  projection_class_embeddings_input_dim: null,
  class_embeddings_concat: false,
  resnet_time_scale_shift: 'default',
  resnet_skip_time_act: false,
  resnet_out_scale_factor: 1,
  mid_block_only_cross_attention: null,
  cross_attention_norm: null,
  time_cond_proj_dim: null,
  time_embedding_dim: null,
  conv_in_kernel: 3,
  conv_out_kernel: 3,
  _diffusers_version: null,
};

const RULES: ConfigRules<UNet2DConditionConfig> = {
  listable: [
    'sample_size', 'only_cross_attention', 'layers_per_block', 'cross_attention_dim', 'transformer_layers_per_block', 'attention_head_dim',
    'reverse_transformer_layers_per_block',
  ],
  nestable: ['transformer_layers_per_block', 'reverse_transformer_layers_per_block'],
  nullable: ['mid_block_type'],
  optional: {
    sample_size: 64, reverse_transformer_layers_per_block: 1 as never, encoder_hid_dim: 1, encoder_hid_dim_type: 'text_proj', time_embedding_dim: 1,
    class_embed_type: 'timestep', num_class_embeds: 1, projection_class_embeddings_input_dim: 1, mid_block_only_cross_attention: true,
    cross_attention_norm: 'group_norm', time_cond_proj_dim: 1, _diffusers_version: '0.42.1',
  },
  fixed: { // what SDXL, Kandinsky, GLIGEN and others set otherwise
    num_attention_heads: [null],
    dual_cross_attention: [false],
    encoder_hid_dim_type: [null, 'text_proj'],
    class_embed_type: [null, 'timestep', 'identity', 'projection', 'simple_projection'],
    addition_embed_type: [null],
    resnet_time_scale_shift: ['default', 'scale_shift'],
    time_embedding_type: ['positional'],
    time_embedding_act_fn: [null],
    timestep_post_act: [null],
    attention_type: ['default'],
    cross_attention_norm: [null, 'layer_norm', 'group_norm'],
  },
};

/**
 * The whole config, checked.
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export function completeUNetConfig(given: Partial<UNet2DConditionConfig>): UNet2DConditionConfig {
  const config = mergeConfig('unet config', DEFAULTS, given, RULES);
  const refuse = (key: keyof UNet2DConditionConfig, takes: string) => {
    throw new RangeError(`unet config: ${key}: got ${show(config[key])}, takes ${takes}`);
  };
  checkInteger('unet config: conv_in_kernel', config.conv_in_kernel, 1);
  checkInteger('unet config: conv_out_kernel', config.conv_out_kernel, 1);
  if (config.class_embed_type?.endsWith('projection') && config.projection_class_embeddings_input_dim === null) {
    refuse('projection_class_embeddings_input_dim', `a number where class_embed_type is '${config.class_embed_type}'`);
  }
  if (config.class_embeddings_concat && config.class_embed_type === null && config.num_class_embeds === null) {
    refuse('class_embeddings_concat', 'false where there are neither class_embed_type nor num_class_embeds');
  }
  if (config.encoder_hid_dim_type !== null && config.encoder_hid_dim === null) refuse('encoder_hid_dim', `a number where encoder_hid_dim_type is '${config.encoder_hid_dim_type}'`);
  if (config.encoder_hid_dim !== null && Array.isArray(config.cross_attention_dim)) refuse('cross_attention_dim', 'one number where there is an encoder_hid_dim');
  if ([config.transformer_layers_per_block].flat().some(Array.isArray) && config.reverse_transformer_layers_per_block === null) {
    refuse('reverse_transformer_layers_per_block', 'a list where transformer_layers_per_block has lists in it');
  }
  return config;
}
