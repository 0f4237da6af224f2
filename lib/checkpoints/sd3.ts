import { show } from '../core/checks.js';
import type { FoundNetwork } from './found_network.js';
import type { CheckpointOptions, Generation } from './generations.js';
import type { KnownOfVae } from './ldm_config.js';
import { checkPlainFloats } from './sd3_transformer.js';
import { count, needed } from './shapes.js';
import { below, shapesOf, type Tensors } from './tensors.js';

/** What is known of SD3 and SD3.5, which their single files do not say, and T5, which some of them have. */

const [CLIP_L, CLIP_G, T5] = ['clip_l', 'clip_g', 't5xxl'].map(name => `text_encoders.${name}.transformer.`);
const T5_KEY = 'encoder.block.0.layer.0.SelfAttention.q.weight';

/** Of the autoencoder of 16 channels, as of a file of it alone. */
export const SD3_VAE: KnownOfVae = { imageSize: 1024, scalingFactor: 1.5305, shiftFactor: 0.0609, forceUpcast: true };

/** All but its networks. T5 may be missing, and its tokenizer is in no such file: without them prompts are read by the two CLIPs alone. */
export function sd3Generation(hasT5: boolean, { predictionType }: CheckpointOptions): Generation {
  if (predictionType !== undefined) {
    throw new RangeError(`predictionType: got ${show(predictionType)}, SD3 predicts the flow and takes none`);
  }
  return {
    imageSize: 1024, ofVae: SD3_VAE,
    schedulers: { scheduler: { _class_name: 'FlowMatchEulerDiscreteScheduler', num_train_timesteps: 1000, shift: 3 } },
    index: { _class_name: 'StableDiffusion3Pipeline', ...!hasT5 && { text_encoder_3: [null, null] }, tokenizer_3: [null, null] },
    missing: {
      ...!hasT5 && { text_encoder_3: `has no T5 (${T5}*); fromSingleFile takes one as the option textEncoder3` },
      tokenizer_3: 'has no tokenizer for T5, as no single file has; fromSingleFile takes one as the option tokenizer3',
    },
    texts: [
      { // as in diffusers, where only the second of them projects the text as a whole
        component: 'text_encoder', tokenizer: 'tokenizer', clip: CLIP_L, projected: true, unprojected: true, padding: '<|endoftext|>',
        prefixes: `${CLIP_L}*`,
      },
      {
        component: 'text_encoder_2', tokenizer: 'tokenizer_2', clip: CLIP_G, projected: true, activation: 'gelu', padding: '!',
        prefixes: `${CLIP_G}*`,
      },
    ],
  };
}

/** T5's encoder in a checkpoint of SD3, or by itself; undefined if there is none. @throws RangeError for another kind of T5. */
export function findT5(tensors: Tensors): FoundNetwork | undefined {
  const own = below(tensors, tensors.has(T5 + T5_KEY) ? T5 : '');
  if (!own.has(T5_KEY)) return undefined;
  checkPlainFloats(own);
  // The embeddings come under two names, as in a state dict of torch, or under one; a whole T5 has a decoder, too.
  const embedded = 'encoder.embed_tokens.weight';
  const unused = /^(encoder\.embed_tokens|decoder|lm_head)\.|^logit_scale$/;
  const weights: Tensors = new Map([...own].filter(([key]) => !unused.test(key)));
  if (!weights.has('shared.weight') && own.has(embedded)) weights.set('shared.weight', own.get(embedded)!);
  return { component: 'text_encoder_3', library: 'transformers', className: 'T5EncoderModel', config: t5Config(weights), weights };
}

function t5Config(weights: Tensors): Record<string, unknown> {
  const shapes = shapesOf(weights);
  const need = needed('T5', shapes);
  const block = 'encoder.block.0.layer';
  const [inner] = need(T5_KEY);
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
