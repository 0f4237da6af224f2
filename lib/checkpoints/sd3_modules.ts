/** What Stability's code calls the modules of SD3's transformer, and diffusers: for checkpoints, and for LoRAs in these names. */

import type { RowParts } from './tensors.js';

/** A module of diffusers, whose weight and bias are rows of one of Stability's. */
export interface Sd3Module {
  readonly path: string;
  readonly rows: RowParts;
}

/** All of them. */
export const WHOLE: RowParts = { of: 1, take: [0] };

/** Shift and scale come the other way round in diffusers' AdaLayerNormContinuous. */
const SWAPPED: RowParts = { of: 2, take: [1, 0] };

const ENDS: Readonly<Record<string, string>> = {
  'x_embedder.proj': 'pos_embed.proj', 'context_embedder': 'context_embedder',
  't_embedder.mlp.0': 'time_text_embed.timestep_embedder.linear_1', 't_embedder.mlp.2': 'time_text_embed.timestep_embedder.linear_2',
  'y_embedder.mlp.0': 'time_text_embed.text_embedder.linear_1', 'y_embedder.mlp.2': 'time_text_embed.text_embedder.linear_2',
  'final_layer.linear': 'proj_out', 'final_layer.adaLN_modulation.1': 'norm_out.linear',
};

/** Within a block. Queries, keys and values lie one below the other in one module. */
const IN_BLOCK: Readonly<Record<string, string | readonly string[]>> = {
  'x_block.attn.qkv': ['attn.to_q', 'attn.to_k', 'attn.to_v'], 'x_block.attn.proj': 'attn.to_out.0',
  'x_block.attn.ln_q': 'attn.norm_q', 'x_block.attn.ln_k': 'attn.norm_k',
  'x_block.attn2.qkv': ['attn2.to_q', 'attn2.to_k', 'attn2.to_v'], 'x_block.attn2.proj': 'attn2.to_out.0',
  'x_block.attn2.ln_q': 'attn2.norm_q', 'x_block.attn2.ln_k': 'attn2.norm_k',
  'x_block.adaLN_modulation.1': 'norm1.linear', 'x_block.mlp.fc1': 'ff.net.0.proj', 'x_block.mlp.fc2': 'ff.net.2',
  'context_block.attn.qkv': ['attn.add_q_proj', 'attn.add_k_proj', 'attn.add_v_proj'], 'context_block.attn.proj': 'attn.to_add_out',
  'context_block.attn.ln_q': 'attn.norm_added_q', 'context_block.attn.ln_k': 'attn.norm_added_k',
  'context_block.adaLN_modulation.1': 'norm1_context.linear',
  'context_block.mlp.fc1': 'ff_context.net.0.proj', 'context_block.mlp.fc2': 'ff_context.net.2',
};

/**
 * What one of Stability's modules becomes; undefined if there is none of that name.
 * @param layers how many blocks there are: the last one does no more with the text than to attend to it.
 */
export function sd3Modules(name: string, layers: number): Sd3Module[] | undefined {
  const [, block, inBlock] = /^joint_blocks\.(\d+)\.(.*)$/s.exec(name) ?? [];
  const [table, key, prefix] = block === undefined ? [ENDS, name, ''] : [IN_BLOCK, inBlock, `transformer_blocks.${block}.`];
  if (!Object.hasOwn(table, key)) return undefined;
  const paths = [table[key]].flat().map(path => prefix + path);
  const last = `joint_blocks.${layers - 1}.context_block.adaLN_modulation.1`;
  if (name === last || name === 'final_layer.adaLN_modulation.1') return [{ path: paths[0], rows: SWAPPED }];
  return paths.map((path, i) => ({ path, rows: paths.length === 1 ? WHOLE : { of: paths.length, take: [i] } }));
}

/** The names of all of Stability's modules, of so many blocks; some have fewer in theirs. */
export function sd3ModuleNames(layers: number): string[] {
  const blocks = Array.from({ length: layers }, (_, i) => Object.keys(IN_BLOCK).map(name => `joint_blocks.${i}.${name}`));
  return [...Object.keys(ENDS), ...blocks.flat()];
}
