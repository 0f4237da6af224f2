/** The names that CompVis' latent-diffusion code gives the weights of Stable Diffusion, and what diffusers calls them. */

export const ldmPrefixes = {
  unet: 'model.diffusion_model.',
  vae: 'first_stage_model.',
};

type Rename = readonly [from: RegExp, to: string];

const unetResnet: Rename[] = [
  [/^in_layers\.0\./, 'norm1.'], [/^in_layers\.2\./, 'conv1.'], [/^emb_layers\.1\./, 'time_emb_proj.'],
  [/^out_layers\.0\./, 'norm2.'], [/^out_layers\.3\./, 'conv2.'], [/^skip_connection\./, 'conv_shortcut.'],
];

const unetEnds: Rename[] = [
  [/^time_embed\.0\./, 'time_embedding.linear_1.'], [/^time_embed\.2\./, 'time_embedding.linear_2.'],
  [/^label_emb\.0\.0\./, 'add_embedding.linear_1.'], [/^label_emb\.0\.2\./, 'add_embedding.linear_2.'],
  [/^label_emb\.weight$/, 'class_embedding.weight'],
  [/^input_blocks\.0\.0\./, 'conv_in.'], [/^out\.0\./, 'conv_norm_out.'], [/^out\.2\./, 'conv_out.'],
];

/**
 * A key of the UNet, without its prefix. Unknown keys stay as they are.
 * @param layersPerBlock resnets of a block on the way down: there the blocks are numbered one by one, each level ending with a downsampler.
 */
export function unetKey(key: string, layersPerBlock: number): string {
  const match = /^(input_blocks|middle_block|output_blocks)\.(\d+)\.(?:(\d+)\.)?(.*)$/.exec(key);
  if (!match || key.startsWith('input_blocks.0.')) return rename(key, unetEnds);
  const [, part, number, index, rest] = match;
  if (part === 'middle_block') {
    const inner = index === undefined ? rest : `${index}.${rest}`;
    return number === '1' ? `mid_block.attentions.0.${inner}` : `mid_block.resnets.${number === '0' ? 0 : 1}.${rename(inner, unetResnet)}`;
  }
  const down = part === 'input_blocks';
  const layer = down ? Number(number) - 1 : Number(number);
  const block = `${down ? 'down' : 'up'}_blocks.${Math.floor(layer / (layersPerBlock + 1))}`;
  const inBlock = layer % (layersPerBlock + 1);
  if (index === '0' && rest.startsWith('op.')) return `${block}.downsamplers.0.conv.${rest.slice('op.'.length)}`;
  if (index === '0') return `${block}.resnets.${inBlock}.${rename(rest, unetResnet)}`;
  if (rest.startsWith('conv.')) return `${block}.upsamplers.0.${rest}`;
  return `${block}.attentions.${inBlock}.${rest}`;
}

/**
 * The UNet's keys, numbered one by one. What has one resnet in a level, as BK-SDM and small-sd, comes with the numbers of SD1.x, which has
 * two: those of the second are missing, and what makes larger stands where a third would be.
 */
export function withoutGaps<T>(unet: ReadonlyMap<string, T>): Map<string, T> {
  const has = (prefix: string) => [...unet.keys()].some(key => key.startsWith(prefix));
  if (!unet.has('input_blocks.1.0.in_layers.2.weight') || has('input_blocks.2.') || !unet.has('input_blocks.3.0.op.weight')) {
    return new Map(unet);
  }
  return new Map([...unet].map(([key, value]) => {
    const [, way, digits, rest] = /^(input|output)_blocks\.(\d{1,3})\.(.*)$/s.exec(key) ?? [];
    const number = Number(digits) - (way === 'input' ? 1 : 0);
    if (way === undefined || number < 0) return [key, value];
    const dense = 2 * Math.floor(number / 3) + Math.min(1, number % 3);
    return [`${way}_blocks.${way === 'input' ? dense + 1 : dense}.${rest}`, value];
  }));
}

const vaeNames: Rename[] = [
  [/\.down\.(\d+)\.block\./, '.down_blocks.$1.resnets.'], [/\.down\.(\d+)\.downsample\./, '.down_blocks.$1.downsamplers.0.'],
  [/\.up\.(\d+)\.block\./, '.up_blocks.$1.resnets.'], [/\.up\.(\d+)\.upsample\./, '.up_blocks.$1.upsamplers.0.'],
  [/\.mid\.block_1\./, '.mid_block.resnets.0.'], [/\.mid\.block_2\./, '.mid_block.resnets.1.'],
  [/\.mid\.attn_1\./, '.mid_block.attentions.0.'],
  [/\.nin_shortcut\./, '.conv_shortcut.'], [/\.norm_out\./, '.conv_norm_out.'],
  [/(\.attentions\.0)\.norm\./, '$1.group_norm.'], [/(\.attentions\.0)\.([qkv])\./, '$1.to_$2.'],
  [/(\.attentions\.0)\.proj_out\./, '$1.to_out.0.'],
];

/** A key of the VAE, without its prefix. There the decoder's levels are counted from the image, in diffusers from the latents. */
export function vaeKey(key: string, levels: number): string {
  const renamed = vaeNames.reduce((name, [from, to]) => name.replace(from, to), key);
  return renamed.replace(/\.up_blocks\.(\d+)\./, (_, level: string) => `.up_blocks.${levels - 1 - Number(level)}.`);
}

const openClipNames: Rename[] = [
  [/^positional_embedding$/, 'embeddings.position_embedding.weight'], [/^token_embedding\./, 'embeddings.token_embedding.'],
  [/^ln_final\./, 'final_layer_norm.'], [/^text_projection$/, 'text_projection.weight'],
  [/^transformer\.resblocks\.(\d+)\./, 'encoder.layers.$1.'],
  [/\.ln_1\./, '.layer_norm1.'], [/\.ln_2\./, '.layer_norm2.'], [/\.mlp\.c_fc\./, '.mlp.fc1.'], [/\.mlp\.c_proj\./, '.mlp.fc2.'],
  [/\.attn\.out_proj\./, '.self_attn.out_proj.'], [/\.attn\.in_proj_(weight|bias)$/, '.self_attn.{q,k,v}_proj.$1'],
];

/** The keys that one of OpenCLIP's becomes: its queries, keys and values lie one below the other in one tensor. */
export function openClipKeys(key: string): string[] {
  const renamed = openClipNames.reduce((name, [from, to]) => name.replace(from, to), key);
  return renamed.includes('{q,k,v}') ? ['q', 'k', 'v'].map(letter => renamed.replace('{q,k,v}', letter)) : [renamed];
}

function rename(key: string, names: readonly Rename[]): string {
  for (const [from, to] of names) if (from.test(key)) return key.replace(from, to);
  return key;
}
