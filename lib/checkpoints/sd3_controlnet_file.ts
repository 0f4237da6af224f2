import { ofDiffusers, type FoundNetwork } from './found_network.js';
import { count, needed } from './shapes.js';
import { parted, shapesOf, type RenamedRows, type Tensors } from './tensors.js';

/** A key that Stability's ControlNets for SD3.5 have, and neither diffusers' nor a transformer. */
const KEY = 'transformer_blocks.0.attn.qkv.weight';

/** Features of each head, which no shape tells: of all that there are. */
const HEAD_SIZE = 64;

/** What Stability calls the modules of a block, and diffusers; queries, keys and values lie one below the other in one. */
const IN_BLOCK: Readonly<Record<string, string | readonly string[]>> = {
  'attn.qkv': ['attn.to_q', 'attn.to_k', 'attn.to_v'], 'attn.proj': 'attn.to_out.0',
  'mlp.fc1': 'ff.net.0.proj', 'mlp.fc2': 'ff.net.2', 'adaLN_modulation.1': 'norm1.linear',
};

/** What it has else: what is beside that, as the number of its kind, no network needs. */
const OTHERS = /^(controlnet_blocks|transformer_blocks|time_text_embed|pos_embed_input)\./;

/**
 * A ControlNet for SD3.5 as Stability publishes it, in the words of diffusers, as its convert_sd3_controlnet_to_diffusers.py makes it;
 * undefined if there is none. @throws RangeError for what is no such ControlNet.
 */
export function findSd3ControlNet(tensors: Tensors): FoundNetwork | undefined {
  if (!tensors.has(KEY) || !tensors.has('controlnet_blocks.0.weight')) return undefined;
  const own: Tensors = new Map([...tensors].filter(([key]) => OTHERS.test(key)));
  return ofDiffusers('controlnet', configOf(own), parted('ControlNet', own, rename));
}

function rename(key: string): RenamedRows[] {
  const [, block, module, kind] = /^transformer_blocks\.(\d+)\.(.+)\.(weight|bias)$/.exec(key) ?? [];
  if (block === undefined || !Object.hasOwn(IN_BLOCK, module)) return [{ name: key }];
  const paths = [IN_BLOCK[module]].flat();
  return paths.map((path, i) => ({
    name: `transformer_blocks.${block}.${path}.${kind}`, ...paths.length > 1 && { rows: { of: paths.length, take: [i] } },
  }));
}

function configOf(tensors: Tensors): Record<string, unknown> {
  const shapes = shapesOf(tensors);
  const need = needed('ControlNet', shapes);
  const [width, channels, patch] = need('pos_embed_input.proj.weight');
  const heads = width / HEAD_SIZE;
  if (!Number.isSafeInteger(heads)) throw new RangeError(`ControlNet: has ${heads} heads, takes a whole number`);
  return {
    _class_name: 'SD3ControlNetModel', sample_size: 128, patch_size: patch, in_channels: channels, out_channels: 16,
    num_layers: count(i => shapes(`transformer_blocks.${i}.attn.qkv.weight`)),
    attention_head_dim: HEAD_SIZE, num_attention_heads: heads,
    joint_attention_dim: null, caption_projection_dim: 2048,
    pooled_projection_dim: need('time_text_embed.text_embedder.linear_1.weight')[1],
    pos_embed_max_size: null, pos_embed_type: null, use_pos_embed: false, force_zeros_for_pooled_projection: false,
  };
}
