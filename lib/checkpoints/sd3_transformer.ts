import { ofDiffusers, type FoundNetwork } from './found_network.js';
import { sd3Modules, WHOLE } from './sd3_modules.js';
import { count, needed } from './shapes.js';
import { parted, shapesOf, type RenamedRows, type Tensors } from './tensors.js';

/** A key that each transformer of SD3 has, in Stability's names. */
export const SD3_KEY = 'joint_blocks.0.x_block.attn.qkv.weight';

/** A transformer of SD3, by Stability's names, in the words of diffusers. @throws RangeError for what is none. */
export function sd3Transformer(tensors: Tensors): FoundNetwork {
  const config = transformerConfig(tensors);
  return ofDiffusers('transformer', config, parted('transformer', tensors, key => names(key, config.num_layers)));
}

/** What a key becomes, with which rows. Unknown keys stay as they are. */
function names(key: string, layers: number): RenamedRows[] {
  if (key === 'pos_embed') return [{ name: 'pos_embed.pos_embed' }];
  const [, module, kind] = /^(.*)\.(weight|bias)$/s.exec(key) ?? [];
  const modules = module === undefined ? undefined : sd3Modules(module, layers);
  return modules?.map(({ path, rows }) => ({ name: `${path}.${kind}`, rows: rows === WHOLE ? undefined : rows })) ?? [{ name: key }];
}

/** What its shapes tell. How large pictures were in its training, none of them does. */
function transformerConfig(tensors: Tensors): { num_layers: number; [key: string]: unknown } {
  const shapes = shapesOf(tensors);
  const need = needed('transformer', shapes);
  const layers = count(i => shapes(`joint_blocks.${i}.x_block.attn.qkv.weight`));
  const [width, channels, patch] = need('x_embedder.proj.weight');
  const [headSize] = shapes('joint_blocks.0.x_block.attn.ln_q.weight') ?? [64];
  const [, positions] = need('pos_embed');
  const [outputs] = need('final_layer.linear.weight');
  const [captionFeatures, textFeatures] = need('context_embedder.weight');
  const [heads, side, outChannels] = [width / headSize, Math.sqrt(positions), outputs / patch ** 2];
  if (![heads, side, outChannels].every(size => Number.isSafeInteger(size) && size > 0)) {
    throw new RangeError(`transformer: has ${heads} heads, ${side} patches on a side and ${outChannels} channels, takes whole numbers`);
  }
  return {
    _class_name: 'SD3Transformer2DModel', sample_size: 128, patch_size: patch, in_channels: channels, out_channels: outChannels,
    num_layers: layers, attention_head_dim: headSize, num_attention_heads: heads,
    joint_attention_dim: textFeatures, caption_projection_dim: captionFeatures, pooled_projection_dim: need('y_embedder.mlp.0.weight')[1],
    pos_embed_max_size: side,
    dual_attention_layers: Array.from({ length: layers }, (_, i) => i).filter(i => shapes(`joint_blocks.${i}.x_block.attn2.qkv.weight`)),
    qk_norm: shapes('joint_blocks.0.x_block.attn.ln_q.weight') ? 'rms_norm' : null,
  };
}
