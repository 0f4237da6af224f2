import { checkOneOf, show } from '../core/checks.js';
import { AddedKVAttention } from '../layers/added_kv_attention.js';
import { Transformer2DModel } from '../layers/transformer_2d.js';
import { perBlock } from './config.js';
import type { KAttention } from './k_blocks.js';
import type { TextAttention } from './unet_2d_blocks.js';
import type { UNet2DConditionConfig, UNetDownConfig } from './unet_2d_condition_config.js';

/** How a block attends to the text, if it does, and what changes its size. */
interface BlockKind {
  attention?: 'transformer' | 'added' | 'k';
  sampling: 'conv' | 'resnet' | 'blur';
}

const DOWN_KINDS: Record<string, BlockKind> = {
  CrossAttnDownBlock2D: { attention: 'transformer', sampling: 'conv' },
  DownBlock2D: { sampling: 'conv' },
  SimpleCrossAttnDownBlock2D: { attention: 'added', sampling: 'resnet' },
  ResnetDownsampleBlock2D: { sampling: 'resnet' },
  KCrossAttnDownBlock2D: { attention: 'k', sampling: 'blur' },
  KDownBlock2D: { sampling: 'blur' },
};

const MID_KINDS: Record<string, BlockKind> = {
  UNetMidBlock2DCrossAttn: { attention: 'transformer', sampling: 'conv' },
  UNetMidBlock2D: { sampling: 'conv' },
  UNetMidBlock2DSimpleCrossAttn: { attention: 'added', sampling: 'conv' },
};

const UP_KINDS: Record<string, BlockKind> = {
  CrossAttnUpBlock2D: { attention: 'transformer', sampling: 'conv' },
  UpBlock2D: { sampling: 'conv' },
  SimpleCrossAttnUpBlock2D: { attention: 'added', sampling: 'resnet' },
  ResnetUpsampleBlock2D: { sampling: 'resnet' },
  KCrossAttnUpBlock2D: { attention: 'k', sampling: 'blur' },
  KUpBlock2D: { sampling: 'blur' },
};

/** What is of a block's kind. */
export type LevelBlock = {
  readonly sampling: 'conv' | 'resnet';
  /** Makes what attends to the text after a resnet, if anything does. */
  readonly attention?: (layer: number) => TextAttention;
} | {
  readonly sampling: 'blur';
  /** How it attends to the text after a resnet, if it does. */
  readonly attention?: KAttention;
};

/** A size of the image, at which there is a block on the way down and, in a UNet, one on the way up. */
export interface UNetLevel {
  /** Of the state that comes from outside. */
  readonly inChannels: number;
  readonly channels: number;
  /** Resnets on the way down; on the way up there is one more, for the state that comes from outside. */
  readonly layers: number;
  readonly down: LevelBlock;
}

/** A state on the way down, of a UNet or beside it. */
export interface StateSize {
  /** How many channels it has. */
  readonly channels: number;
  /** How many times smaller its height and width are than what the way begins with. */
  readonly scale: number;
}

/** From the outermost to the innermost. @throws RangeError for a config that contradicts itself. */
export function downLevels(config: UNetDownConfig): UNetLevel[] {
  const channels = config.block_out_channels;
  const each = <T>(key: keyof UNetDownConfig, value: T | T[]) => perBlock(`unet config: ${key}`, value, channels.length);
  const layers = each('layers_per_block', config.layers_per_block);
  const types = each('down_block_types', config.down_block_types);
  const onlyCross = each('only_cross_attention', config.only_cross_attention);
  const transformers = each<number | number[]>('transformer_layers_per_block', config.transformer_layers_per_block);
  const headDims = each('attention_head_dim', config.attention_head_dim);
  return channels.map((outChannels, i) => ({
    inChannels: channels[Math.max(0, i - 1)],
    channels: outChannels,
    layers: layers[i],
    down: levelBlock(config, kindOf('down_block_types', types[i], DOWN_KINDS), {
      level: i, onlyCross: onlyCross[i], transformers: transformers[i], addedHeadDim: headDims[i],
    }),
  }));
}

/** What is in the middle, if anything is. */
export function middleBlock(config: UNetDownConfig): LevelBlock | undefined {
  if (config.mid_block_type === null) return undefined;
  const level = config.block_out_channels.length - 1;
  const kind = kindOf('mid_block_type', config.mid_block_type, MID_KINDS);
  const onlyCross = config.mid_block_only_cross_attention ?? (config.only_cross_attention === true);
  return levelBlock(config, kind, {
    level, onlyCross: kind.attention === 'added' && onlyCross,
    transformers: at(config.transformer_layers_per_block, level), addedHeadDim: at(config.attention_head_dim, level),
  });
}

/** The blocks of the way up, by levels from the outermost to the innermost, though configs list them as they run. */
export function upBlocks(config: UNet2DConditionConfig): LevelBlock[] {
  const count = config.block_out_channels.length;
  const each = <T>(key: keyof UNet2DConditionConfig, value: T | T[]) => perBlock(`unet config: ${key}`, value, count);
  const types = each('up_block_types', config.up_block_types);
  const onlyCross = each('only_cross_attention', config.only_cross_attention);
  const headDims = each('attention_head_dim', config.attention_head_dim);
  const transformers = config.reverse_transformer_layers_per_block
    ? each('reverse_transformer_layers_per_block', config.reverse_transformer_layers_per_block)
    : each<number | number[]>('transformer_layers_per_block', config.transformer_layers_per_block).toReversed();
  return config.block_out_channels.map((_, level) => {
    const turn = count - 1 - level;
    return levelBlock(config, kindOf('up_block_types', types[turn], UP_KINDS), {
      level, onlyCross: onlyCross[level], transformers: transformers[turn],
      addedHeadDim: headDims[turn], // not the level's, as in diffusers
    });
  });
}

interface AttentionOptions {
  level: number;
  onlyCross: boolean;
  /** How many of each transformer's layers, or those of each of the block's transformers. */
  transformers: number | number[];
  /** Features of a head, of added keys and values and in K blocks. */
  addedHeadDim: number;
}

function levelBlock(config: UNetDownConfig, { attention, sampling }: BlockKind, options: AttentionOptions): LevelBlock {
  const { level, onlyCross: onlyCrossAttention, transformers, addedHeadDim } = options;
  const channels = config.block_out_channels[level];
  const crossAttentionDim = at(config.cross_attention_dim, level);
  if (sampling === 'blur') return { sampling, attention: attention && { headDim: addedHeadDim, crossAttentionDim } };
  const shared = { channels, groups: config.norm_num_groups!, crossAttentionDim, onlyCrossAttention };
  if (attention === 'transformer') {
    const heads = at(config.attention_head_dim, level);
    const whole = { ...shared, heads, linearProjection: config.use_linear_projection };
    return { sampling, attention: layer => new Transformer2DModel({ ...whole, layers: layersAt(transformers, layer) }) };
  }
  if (attention !== 'added') return { sampling };
  const heads = channels / addedHeadDim;
  if (!Number.isInteger(heads)) {
    throw new RangeError(`unet config: attention_head_dim: got ${addedHeadDim}, ` +
      `takes a number that divides a block's ${channels} channels`);
  }
  const crossAttentionNorm = config.cross_attention_norm as 'layer_norm' | 'group_norm' | null;
  return { sampling, attention: () => new AddedKVAttention({ ...shared, heads, crossAttentionNorm }) };
}

/** @throws RangeError for a name that is not in `kinds`, perhaps with the UNetRes before it that the first versions of diffusers wrote. */
function kindOf(key: string, type: string, kinds: Record<string, BlockKind>): BlockKind {
  const name = type.replace(/^UNetRes/, '');
  return kinds[checkOneOf(`unet ${key}`, name, Object.keys(kinds))];
}

function at<T>(value: T | T[], level: number): T {
  return Array.isArray(value) ? value[level] : value;
}

function layersAt(layers: number | number[], layer: number): number {
  if (!Array.isArray(layers)) return layers;
  if (layer >= layers.length) {
    throw new RangeError(`unet config: transformer_layers_per_block: got ${show(layers)} for a block, ` +
      'takes a number for each of its layers');
  }
  return layers[layer];
}
