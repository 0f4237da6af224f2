import { checkInteger } from '../core/checks.js';
import { getActivation, type Activation } from '../layers/activations.js';
import { LAYERS, mergeConfig, real, text, whole, type ConfigKeys } from './config.js';

/** What `config.json` of a T5 says that its encoder is made by. The defaults are transformers', of t5-small. */
export interface T5Config {
  vocab_size: number;
  d_model: number;
  /** Features of each head's queries, keys and values. */
  d_kv: number;
  d_ff: number;
  num_layers: number;
  num_heads: number;
  /** Of distances between tokens: half of them for tokens before, half for those behind. */
  relative_attention_num_buckets: number;
  /** The distance from which on all are in the last bucket. */
  relative_attention_max_distance: number;
  layer_norm_epsilon: number;
  /** An activation, as in 'relu', or of what it is a gate for, as in 'gated-gelu'. */
  feed_forward_proj: string;
}

const NAME = 'T5 config';
const KEYS: ConfigKeys<T5Config> = {
  vocab_size: whole(32128),
  d_model: whole(512),
  d_kv: whole(64),
  d_ff: whole(2048),
  num_layers: whole(6, LAYERS),
  num_heads: whole(8),
  relative_attention_num_buckets: whole(32),
  relative_attention_max_distance: whole(128),
  layer_norm_epsilon: real(1e-6),
  feed_forward_proj: text('relu'),
};

/** @throws TypeError, RangeError naming the key whose value does not fit. */
export function completeConfig(config: object): T5Config {
  const merged = mergeConfig(NAME, KEYS, config);
  const atLeast = (key: 'd_model' | 'd_kv' | 'num_heads' | 'relative_attention_num_buckets', least: number) =>
    checkInteger(`${NAME}: ${key}`, merged[key], least);
  atLeast('d_model', 1);
  atLeast('d_kv', 1);
  atLeast('num_heads', 1);
  const buckets = atLeast('relative_attention_num_buckets', 4);
  checkInteger(`${NAME}: relative_attention_max_distance`, merged.relative_attention_max_distance, Math.floor(buckets / 4) + 1);
  readFeedForward(merged.feed_forward_proj);
  return merged;
}

/** What `feed_forward_proj` says: the `gelu` of a gate is the approximation by tanh. @throws RangeError for an unknown activation. */
export function readFeedForward(proj: string): { gated: boolean; activation: Activation } {
  const gated = proj.startsWith('gated-');
  const name = gated ? proj.slice('gated-'.length) : proj;
  return { gated, activation: getActivation(`${NAME}: feed_forward_proj`, gated && name === 'gelu' ? 'gelu_new' : name) };
}
