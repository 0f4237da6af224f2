import { show } from '../core/checks.js';
import { LAYERS, mergeConfig, real, text, whole, type ConfigKeys } from './config.js';

/** What `image_encoder/config.json` says. The defaults are transformers'. */
export interface CLIPVisionConfig {
  hidden_size: number;
  intermediate_size: number;
  /** Features of the embedding of a picture, where it is projected. */
  projection_dim: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_channels: number;
  /** Height and width of the pictures that it sees. */
  image_size: number;
  /** Height and width of the squares that they are cut into; a remainder at the lower and right edge is not seen. */
  patch_size: number;
  hidden_act: string;
  layer_norm_eps: number;
}

const KEYS: ConfigKeys<CLIPVisionConfig> = {
  hidden_size: whole(768),
  intermediate_size: whole(3072),
  projection_dim: whole(512),
  num_hidden_layers: whole(12, LAYERS),
  num_attention_heads: whole(12),
  num_channels: whole(3),
  image_size: whole(224, { most: 4096 }),
  patch_size: whole(32, { most: 4096 }),
  hidden_act: text('quick_gelu'),
  layer_norm_eps: real(1e-5),
};

/** The whole config, checked. @throws TypeError, RangeError naming the key whose value does not fit. */
export function completeVisionConfig(name: string, given: object): CLIPVisionConfig {
  const config = mergeConfig(name, KEYS, given);
  const { patch_size: patch, image_size: size, num_attention_heads: heads, hidden_size: features } = config;
  if (patch < 1 || patch > size) {
    throw new RangeError(`${name}: patch_size: got ${show(patch)}, takes a number from 1 to image_size, ${size}`);
  }
  if (!Number.isInteger(features / heads)) {
    throw new RangeError(`${name}: num_attention_heads: got ${show(heads)}, takes a number that divides hidden_size, ${features}`);
  }
  return config;
}
