import { checkNumber, show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { LoraNetwork } from './lora_weights.js';
import type { ScaleOfPath } from './network_adapters.js';

/** The scale of one block: one number, or one for each of its attentions. */
export type BlockScale = number | readonly number[];

/** The scale of the blocks on the way down or up: the same for each, or by name (`block_0`). */
export type SideScale = BlockScale | Record<string, BlockScale>;

/** How strongly a LoRA acts on the UNet, by its blocks; 1 for blocks that are left out. */
export interface BlockScales {
  /** Of the blocks on the way down, `block_0` being the outermost. */
  down?: SideScale;
  /** Of the middle block. */
  mid?: BlockScale;
  /** Of the blocks on the way up, `block_0` being the innermost. */
  up?: SideScale;
}

/**
 * How strongly a LoRA acts: 1 as it was trained, 0 not at all. By network and block as in diffusers' `set_adapters`; 1 for networks and
 * blocks that are left out.
 */
export type LoraScale = number | {
  unet?: number | BlockScales; transformer?: number;
  textEncoder?: number; textEncoder2?: number; text_encoder?: number; text_encoder_2?: number;
};

/**
 * Checks a scale and says what it is for each parameter of the networks. As in diffusers, an attention's goes for the resnet of the same
 * number and block, the first one's for the block's sampler, and blocks without attention have 1.
 * @param paths the parameters of the UNet.
 * @param networks those that there are, by their names here and in files.
 * @throws RangeError for what is no number, or for a network or block that does not exist.
 */
export function scalesOfNetworks(
  name: string, scale: LoraScale, paths: Iterable<string>, networks: readonly string[],
): Record<LoraNetwork, ScaleOfPath> {
  if (!isObject(scale)) {
    const all = always(name, scale);
    return { unet: all, transformer: all, text_encoder: all, text_encoder_2: all };
  }
  checkKeys(name, scale, networks);
  const { unet = 1, transformer = 1, text_encoder: first = 1, text_encoder_2: second = 1 } = scale;
  const { textEncoder = first, textEncoder2 = second } = scale;
  return {
    unet: isObject(unet) ? scaleByBlock(`${name}.unet`, unet, paths) : always(`${name}.unet`, unet),
    transformer: always(`${name}.transformer`, transformer),
    text_encoder: always(`${name}.textEncoder`, textEncoder),
    text_encoder_2: always(`${name}.textEncoder2`, textEncoder2),
  };
}

function always(name: string, scale: unknown): ScaleOfPath {
  const checked = checkNumber(name, scale as number);
  return () => checked;
}

/**
 * What scales by blocks are for each parameter or attention of a UNet.
 * @param otherwise what they are where nothing is said of a block with attentions.
 * @throws RangeError for what is no number, or for a block that does not exist.
 */
export function scaleByBlock(name: string, scales: BlockScales, paths: Iterable<string>, otherwise = 1): ScaleOfPath {
  checkKeys(name, scales, ['down', 'mid', 'up']);
  const known = new Map<string, readonly number[]>([['mid_block', perAttention(`${name}.mid`, scales.mid ?? otherwise, 1)]]);
  const attentions = countAttentions(paths);
  for (const side of ['down', 'up'] as const) {
    const blocks = [...attentions].filter(([block]) => block.startsWith(side))
      .map(([block, count]) => ({ block, count, key: block.replace(/^.*\./, 'block_') }));
    const scale = scales[side] ?? otherwise;
    if (isObject(scale)) checkKeys(`${name}.${side}`, scale, blocks.map(({ key }) => key));
    for (const { block, count, key } of blocks) {
      const where = `${name}.${side}`;
      const own = isObject(scale) ? perAttention(`${where}.${key}`, scale[key] ?? otherwise, count) : perAttention(where, scale, count);
      known.set(block, own);
    }
  }
  return path => {
    const [, block, kind, index] = /^(mid_block|(?:down|up)_blocks\.\d+)\.(\w+)\.(\d+)\./.exec(path) ?? [];
    return block === 'mid_block' && kind !== 'attentions' ? 1 : known.get(block)?.[Number(index)] ?? 1;
  };
}

/** How many attentions each block has on the way down and up: `down_blocks.0`, ... */
function countAttentions(paths: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const path of paths) {
    const [, block, kind, index] = /^((?:down|up)_blocks\.\d+)\.(\w+)\.(\d+)\./.exec(path) ?? [];
    if (block) counts.set(block, Math.max(counts.get(block) ?? 0, kind === 'attentions' ? Number(index) + 1 : 0));
  }
  return counts;
}

/** One number for all attentions of a block, or a list of one, or one for each. */
function perAttention(name: string, scale: unknown, count: number): number[] {
  const list = [scale].flat();
  if (count > 0 && list.length !== 1 && list.length !== count) {
    throw new RangeError(`${name}: got a list of ${list.length}, takes a number, or a list of ${count}`);
  }
  return Array.from({ length: count }, (_, i) => checkNumber(name, list[list.length === 1 ? 0 : i] as number));
}

function checkKeys(name: string, value: object, accepted: readonly string[]): void {
  for (const key of Object.keys(value)) {
    if (!accepted.includes(key)) {
      throw new RangeError(`${name}: got the key ${show(key)}, takes ${accepted.map(show).join(', ') || 'none'}`);
    }
  }
}
