import { checkInteger, show } from '../core/checks.js';
import { LAYERS_PER_BLOCK, mergeConfig, text, whole, type ConfigKeys } from './config.js';

/** What a T2I-Adapter's `config.json` says. The defaults are diffusers'. */
export interface T2IAdapterConfig {
  /** Channels of the picture to steer by: 3 for colours, 1 for grey. */
  in_channels: number;
  /** Channels of its states; a light adapter has one more state, with as many channels as the last. */
  channels: number[];
  /** Resnet blocks for each state. */
  num_res_blocks: number;
  /** How much smaller the first state is than the picture. */
  downscale_factor: number;
  adapter_type: string;
}

const KEYS: ConfigKeys<T2IAdapterConfig> = {
  in_channels: whole(3),
  channels: whole([320, 640, 1280, 1280]),
  num_res_blocks: whole(2, LAYERS_PER_BLOCK),
  downscale_factor: whole(8, { most: 64 }),
  adapter_type: text('full_adapter', { accepts: ['full_adapter', 'full_adapter_xl', 'light_adapter'] }),
};

/**
 * The whole config, checked.
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export function completeT2IAdapterConfig(given: Partial<T2IAdapterConfig>): T2IAdapterConfig {
  const name = 'adapter config';
  const config = mergeConfig(name, KEYS, given);
  for (const key of ['in_channels', 'num_res_blocks', 'downscale_factor'] as const) checkInteger(`${name}: ${key}`, config[key], 1);
  const { channels, adapter_type: type } = config;
  channels.forEach(each => checkInteger(`${name}: channels`, each, type === 'light_adapter' ? 4 : 1));
  if (type === 'full_adapter_xl' && channels.slice(3).some(each => each !== channels[2])) {
    throw new RangeError(`${name}: channels: got ${show(channels)}, takes the same number from the third on where it is a ${type}`);
  }
  return config;
}
