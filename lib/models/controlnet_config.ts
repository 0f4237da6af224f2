import { flag, mergeConfig, text, whole, type ConfigKeys } from './config.js';
import { blurs, checkDownConfig, DOWN_KEYS, FOREIGN, type UNetDownConfig } from './unet_2d_condition_config.js';

/** What `controlnet/config.json` says. The defaults are diffusers'. */
export interface ControlNetConfig extends UNetDownConfig {
  /** Channels of the picture to steer by. */
  conditioning_channels: number;
  controlnet_conditioning_channel_order: string;
  /** Channels of the convolutions that read the picture; each but the first halves height and width. */
  conditioning_embedding_out_channels: number[];
  /** Whether each output is reduced to its mean over height and width, for ControlNets that steer by the picture as a whole. */
  global_pool_conditions: boolean;
}

export const CONTROLNET_KEYS: ConfigKeys<ControlNetConfig> = {
  ...DOWN_KEYS,
  conditioning_channels: whole(3),
  controlnet_conditioning_channel_order: text('rgb', { accepts: ['rgb', 'bgr'] }),
  conditioning_embedding_out_channels: whole([16, 32, 96, 256]),
  global_pool_conditions: flag(false),
};

/**
 * The whole config, checked.
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export function completeControlNetConfig(given: Partial<ControlNetConfig>): ControlNetConfig {
  return completeConfig(CONTROLNET_KEYS, given);
}

/** The same of a ControlNet of another kind, whose config has more keys. @throws as completeControlNetConfig. */
export function completeConfig<C extends ControlNetConfig>(keys: ConfigKeys<C>, given: Partial<C>): C {
  const foreign = { ...FOREIGN, time_embedding_type: ['positional'], timestep_post_act: [null] };
  const config = mergeConfig('controlnet config', keys, given, foreign);
  checkDownConfig('controlnet config', config);
  if (blurs(config) || config.norm_num_groups === null) {
    throw new RangeError('controlnet config: down_block_types: takes no K blocks, and norm_num_groups no null');
  }
  return config;
}
