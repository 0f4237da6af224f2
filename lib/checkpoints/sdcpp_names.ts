import type { CheckpointTensor } from './checkpoint_tensor.js';
import { renamed, type Tensors } from './tensors.js';

/**
 * The names that stable-diffusion.cpp gives tensors when it converts a checkpoint, always or by --convert-name: those of text encoders as
 * transformers has them, though queries, keys and values may still be one, and of linear layers of UNets as of 1x1 convolutions.
 */

const UNET = 'model.diffusion_model.';
const [FIRST, SECOND] = ['cond_stage_model.transformer.', 'cond_stage_model.1.transformer.'];
const TOKENS = 'text_model.embeddings.token_embedding.weight';

/** What transformers calls the modules of a layer, and OpenCLIP. Parts of queries, keys and values stay as they are: these are read so. */
const IN_LAYER: ReadonlyArray<readonly [from: RegExp, to: string]> = [
  [/^layer_norm([12])\./, 'ln_$1.'], [/^mlp\.fc1\./, 'mlp.c_fc.'], [/^mlp\.fc2\./, 'mlp.c_proj.'],
  [/^self_attn\.out_proj\./, 'attn.out_proj.'], [/^self_attn\.in_proj\./, 'attn.in_proj_'],
];
const ENDS: Readonly<Record<string, string>> = {
  [TOKENS]: 'token_embedding.weight', 'text_model.embeddings.position_embedding.weight': 'positional_embedding',
  'text_model.final_layer_norm.weight': 'ln_final.weight', 'text_model.final_layer_norm.bias': 'ln_final.bias',
  'text_model.text_projection': 'text_projection',
};

/** All in the names that checkpoints have; the same tensors where these are such already. */
export function fromSdcppNames(tensors: Tensors): Tensors {
  const hasVae = tensors.has('first_stage_model.encoder.conv_in.weight') || !tensors.has('vae.encoder.conv_in.weight');
  const own = hasVae ? tensors : renamed(tensors, key => key.replace(/^vae\./, 'first_stage_model.'));
  const isXl = own.has(`${UNET}label_emb.0.0.weight`);
  const isSd3 = own.has(`${UNET}x_embedder.proj.weight`);
  const rename = isSd3 ? sd3Key : [FIRST, SECOND].some(prefix => own.has(prefix + TOKENS)) ? keyOf(own, isXl) : undefined;
  const named = rename ? renamed(own, rename) : own;
  return isXl || hasTextOfSd2(named) ? withLinears(named) : named;
}

/** In SD3's the projection alone has another name. */
function sd3Key(key: string): string {
  return key.replace(/^(text_encoders\.clip_[lg]\.transformer\.)text_model\.text_projection$/, '$1text_projection.weight');
}

/** A key of text encoders as CompVis' and Stability's checkpoints have it, where that of OpenAI is the only one in transformers' names. */
function keyOf(tensors: Tensors, isXl: boolean): (key: string) => string {
  const isOpenClip = (prefix: string) => tensors.has(`${prefix}text_model.text_projection`)
    || tensors.has(`${prefix}text_model.encoder.layers.0.self_attn.in_proj.weight`);
  const first = isOpenClip(FIRST);
  const place = isXl ? 'conditioner.embedders.0.' : 'cond_stage_model.';
  return key => {
    if (key.startsWith(SECOND)) return `conditioner.embedders.1.model.${openClipKey(key.slice(SECOND.length))}`;
    if (!key.startsWith(FIRST)) return key;
    return first ? `${place}model.${openClipKey(key.slice(FIRST.length))}` : `${place}transformer.${key.slice(FIRST.length)}`;
  };
}

function openClipKey(key: string): string {
  if (Object.hasOwn(ENDS, key)) return ENDS[key];
  const [, layer, rest] = /^text_model\.encoder\.layers\.(\d+)\.(.*)$/s.exec(key) ?? [];
  if (layer === undefined) return key;
  const [from, to] = IN_LAYER.find(([from]) => from.test(rest)) ?? [/^$/, ''];
  return `transformer.resblocks.${layer}.${rest.replace(from, to)}`;
}

function hasTextOfSd2(tensors: Tensors): boolean {
  return tensors.get(`${UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight`)?.shape[1] === 1024;
}

/** Layers around a UNet's transformers as what they are since SD2: linear, and no convolutions of one pixel. */
function withLinears(tensors: Tensors): Tensors {
  const isSuch = (key: string, { shape }: CheckpointTensor) =>
    key.startsWith(UNET) && /\.\d+\.1\.proj_(in|out)\.weight$|middle_block\.1\.proj_(in|out)\.weight$/.test(key)
    && shape.length === 4 && shape[2] === 1 && shape[3] === 1;
  return new Map([...tensors].map(([key, tensor]) => [key, isSuch(key, tensor) ? { ...tensor, shape: tensor.shape.slice(0, 2) } : tensor]));
}
