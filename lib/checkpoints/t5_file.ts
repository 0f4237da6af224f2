import type { FoundNetwork } from './found_network.js';
import { count, needed } from './shapes.js';
import { below, renamed, shapesOf, type Tensors } from './tensors.js';

/** Where checkpoints of SD3 have T5, if they have it. */
export const T5_PREFIX = 'text_encoders.t5xxl.transformer.';

const KEY = 'encoder.block.0.layer.0.SelfAttention.q.weight';
const LLAMA_KEY = 'enc.blk.0.attn_q.weight';

const LLAMA_ENDS: Readonly<Record<string, string>> = {
  'token_embd.weight': 'shared.weight', 'enc.output_norm.weight': 'encoder.final_layer_norm.weight',
};
const LLAMA_BLOCK: Readonly<Record<string, string>> = {
  attn_norm: '0.layer_norm', attn_q: '0.SelfAttention.q', attn_k: '0.SelfAttention.k', attn_v: '0.SelfAttention.v',
  attn_o: '0.SelfAttention.o', attn_rel_b: '0.SelfAttention.relative_attention_bias', ffn_norm: '1.layer_norm',
  ffn_gate: '1.DenseReluDense.wi_0', ffn_up: '1.DenseReluDense.wi_1', ffn_down: '1.DenseReluDense.wo',
};

/** T5's encoder in a checkpoint of SD3, or by itself; undefined if there is none. @throws RangeError for another kind of T5. */
export function findT5(tensors: Tensors): FoundNetwork | undefined {
  const own = below(tensors, tensors.has(T5_PREFIX + KEY) ? T5_PREFIX : '');
  const named = own.has(LLAMA_KEY) ? renamed(own, llamaKey) : own;
  if (!named.has(KEY)) return undefined;
  // The embeddings come under two names, as in a state dict of torch, or under one; a whole T5 has a decoder, too.
  const embedded = 'encoder.embed_tokens.weight';
  const unused = /^(encoder\.embed_tokens|decoder|lm_head)\.|^logit_scale$/;
  const weights: Tensors = new Map([...named].filter(([key]) => !unused.test(key)));
  if (!weights.has('shared.weight') && named.has(embedded)) weights.set('shared.weight', named.get(embedded)!);
  return { component: 'text_encoder_3', library: 'transformers', className: 'T5EncoderModel', config: t5Config(weights), weights };
}

/** A key of GGUF files by llama.cpp, which name T5 as a language model. Unknown keys stay as they are. */
function llamaKey(key: string): string {
  const [, block, name] = /^enc\.blk\.(\d+)\.(\w+)\.weight$/.exec(key) ?? [];
  if (Object.hasOwn(LLAMA_ENDS, key)) return LLAMA_ENDS[key];
  return block !== undefined && Object.hasOwn(LLAMA_BLOCK, name) ? `encoder.block.${block}.layer.${LLAMA_BLOCK[name]}.weight` : key;
}

function t5Config(weights: Tensors): Record<string, unknown> {
  const shapes = shapesOf(weights);
  const need = needed('T5', shapes);
  const block = 'encoder.block.0.layer';
  const [inner] = need(KEY);
  const [buckets, heads] = need(`${block}.0.SelfAttention.relative_attention_bias.weight`);
  const [words, features] = need('shared.weight');
  if (!Number.isSafeInteger(inner / heads)) throw new RangeError(`T5: has ${heads} heads over ${inner} features, takes as many in each`);
  return {
    architectures: ['T5EncoderModel'], model_type: 't5', vocab_size: words, d_model: features, d_kv: inner / heads,
    d_ff: need(`${block}.1.DenseReluDense.wi_0.weight`)[0], num_heads: heads,
    num_layers: count(i => shapes(`encoder.block.${i}.layer.0.SelfAttention.q.weight`)),
    relative_attention_num_buckets: buckets, relative_attention_max_distance: 128,
    feed_forward_proj: 'gated-gelu', layer_norm_epsilon: 1e-6,
  };
}
