import { show } from '../core/checks.js';
import { LAYERS, text, whole, type ConfigKeys } from './config.js';
import { completeConfig, CONTROLNET_KEYS, type ControlNetConfig } from './controlnet_config.js';

/** What the `config.json` of a ControlNet-Union says. The defaults are diffusers'. */
export interface ControlNetUnionConfig extends ControlNetConfig {
  /** How many modes it has. */
  num_control_type: number;
  /**
   * Features of its transformer over the pictures' means: as many as the channels of the first block. Its heads and layers are the next
   * two.
   */
  num_trans_channel: number;
  num_trans_head: number;
  num_trans_layer: number;
  num_proj_channel: number;
}

const KEYS: ConfigKeys<ControlNetUnionConfig> = {
  ...CONTROLNET_KEYS,
  controlnet_conditioning_channel_order: text('rgb', { accepts: ['rgb'] }),
  conditioning_embedding_out_channels: whole([48, 96, 192, 384]),
  num_control_type: whole(6),
  num_trans_channel: whole(320),
  num_trans_head: whole(8),
  num_trans_layer: whole(1, LAYERS),
  num_proj_channel: whole(320),
};

/**
 * The whole config, checked.
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export function completeControlNetUnionConfig(given: Partial<ControlNetUnionConfig>): ControlNetUnionConfig {
  const config = completeConfig(KEYS, given);
  const refuse = (key: keyof ControlNetUnionConfig, takes: string) => {
    throw new RangeError(`controlnet config: ${key}: got ${show(config[key])}, takes ${takes}`);
  };
  const { block_out_channels: [first], num_trans_channel: features, num_trans_head: heads } = config;
  for (const key of ['num_trans_channel', 'num_proj_channel'] as const) {
    if (config[key] !== first) refuse(key, `the first of block_out_channels, ${first}`);
  }
  if (features % heads !== 0) refuse('num_trans_head', `a number that divides num_trans_channel, ${features}`);
  if (config.addition_time_embed_dim === null) refuse('addition_time_embed_dim', 'a number');
  return config;
}
