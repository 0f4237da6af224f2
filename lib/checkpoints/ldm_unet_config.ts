import { needed, type Shapes } from './shapes.js';

/** What the shapes of a single file tell of its UNet: of Stable Diffusion's, and of those that were made smaller by leaving blocks out. */

/** A size of the image, on the way down or up. */
interface Level {
  readonly channels: number;
  /** A number for each of its resnets: how many transformer blocks follow it, 0 where nothing attends. */
  readonly depths: number[];
  /** Whether they attend to the text alone. */
  readonly onlyCross?: boolean;
}

/** The transformer that was found first, by which all others are known. */
interface Attention {
  readonly contextDim: number;
  readonly linear: boolean;
}

/**
 * The config of a UNet by CompVis' names, read off its own keys, so that the models distilled from SDXL by leaving out transformer blocks
 * and parts of the middle (SSD-1B, Segmind-Vega) need none of diffusers' to be read.
 * @throws RangeError for what is no UNet of Stable Diffusion, and for one that no config of diffusers' UNet2DConditionModel describes.
 */
export function unetConfig(shapes: Shapes, imageSize: number): { _class_name: string; layers_per_block: number; [key: string]: unknown } {
  const need = needed('UNet', shapes);
  const down = downLevels(shapes);
  const attention = firstAttention(shapes);
  if (down.length === 0 || !attention) throw new RangeError('UNet: has no blocks or no attention, takes Stable Diffusion');
  const layers = layersPerBlock(down);
  const up = upLevels(shapes, down.length, layers);
  const middle = countBlocks(shapes, 'middle_block.1');
  const channels = down.map(level => level.channels);
  return {
    _class_name: 'UNet2DConditionModel',
    sample_size: imageSize / 8,
    in_channels: need('input_blocks.0.0.weight')[1],
    out_channels: need('out.2.weight')[0],
    down_block_types: down.map(level => attends(level) ? 'CrossAttnDownBlock2D' : 'DownBlock2D'),
    ...middle === 0 && { mid_block_type: shapes('middle_block.0.in_layers.2.weight') ? 'UNetMidBlock2D' : null },
    up_block_types: up.map(level => attends(level) ? 'CrossAttnUpBlock2D' : 'UpBlock2D'),
    block_out_channels: channels,
    layers_per_block: layers,
    cross_attention_dim: attention.contextDim,
    // Heads, by diffusers' old name: 64 features each since SD2.
    attention_head_dim: attention.linear ? channels.map(count => count / 64) : 8,
    use_linear_projection: attention.linear,
    ...down.some(({ onlyCross }) => onlyCross) && { only_cross_attention: down.map(({ onlyCross = false }) => onlyCross) },
    norm_num_groups: 32,
    ...transformerLayers(down, up, middle),
    ...additions(shapes),
  };
}

/** From the outermost to the innermost: a level ends with a downsampler. */
function downLevels(shapes: Shapes): Level[] {
  const levels: Level[] = [];
  let next = true;
  for (let i = 1; ; i++) {
    if (shapes(`input_blocks.${i}.0.op.weight`)) {
      next = true;
      continue;
    }
    const resnet = shapes(`input_blocks.${i}.0.in_layers.2.weight`);
    if (!resnet) return levels;
    if (next) levels.push({ channels: resnet[0], depths: [], onlyCross: attendsToTextAlone(shapes, `input_blocks.${i}.1`) });
    next = false;
    levels.at(-1)!.depths.push(countBlocks(shapes, `input_blocks.${i}.1`));
  }
}

/** From the innermost to the outermost, as they run: each has a resnet more than on the way down. */
function upLevels(shapes: Shapes, count: number, layers: number): Level[] {
  return Array.from({ length: count }, (_, level) => {
    const numbers = Array.from({ length: layers + 1 }, (_, layer) => level * (layers + 1) + layer);
    const resnets = numbers.map(number => needed('UNet', shapes)(`output_blocks.${number}.0.in_layers.2.weight`));
    return { channels: resnets[0][0], depths: numbers.map(number => countBlocks(shapes, `output_blocks.${number}.1`)) };
  });
}

function layersPerBlock(levels: readonly Level[]): number {
  const counts = levels.map(({ depths }) => depths.length);
  if (counts.some(count => count !== counts[0])) {
    throw new RangeError(`UNet: has ${counts.join(', ')} resnets in its levels, takes as many in each`);
  }
  return counts[0];
}

/** Whether even what would be a transformer's attention to itself sees the text: by its features, where these are not the image's. */
function attendsToTextAlone(shapes: Shapes, prefix: string): boolean {
  const toK = shapes(`${prefix}.transformer_blocks.0.attn1.to_k.weight`);
  return toK !== undefined && toK[1] !== toK[0];
}

function countBlocks(shapes: Shapes, prefix: string): number {
  let blocks = 0;
  while (shapes(`${prefix}.transformer_blocks.${blocks}.attn2.to_k.weight`)) blocks++;
  return blocks;
}

function firstAttention(shapes: Shapes): Attention | undefined {
  for (const prefix of attentionPlaces(shapes)) {
    const toK = shapes(`${prefix}.transformer_blocks.0.attn2.to_k.weight`);
    if (toK) return { contextDim: toK[1], linear: needed('UNet', shapes)(`${prefix}.proj_in.weight`).length === 2 };
  }
  return undefined;
}

/** Where a transformer may be. */
function* attentionPlaces(shapes: Shapes): Generator<string> {
  const is = (block: string) => shapes(`${block}.0.in_layers.2.weight`) ?? shapes(`${block}.0.op.weight`);
  for (let i = 1; is(`input_blocks.${i}`); i++) yield `input_blocks.${i}.1`;
  yield 'middle_block.1';
  for (let i = 0; is(`output_blocks.${i}`); i++) yield `output_blocks.${i}.1`;
}

function attends({ depths }: Level): boolean {
  if (depths.includes(0) && depths.some(depth => depth > 0)) {
    throw new RangeError(`UNet: has ${depths.join(', ')} transformer blocks after the resnets of a level, takes some after each or none`);
  }
  return depths[0] > 0;
}

/**
 * How many transformer blocks there are: one number if all are alike, else one for each level; where the layers of a level differ, or the
 * ways down and up, a list for each level of either way. The last number of the way down is the middle's too.
 * @param down from the outermost to the innermost; `up` the other way round.
 * @param middle how many there are in the middle.
 */
function transformerLayers(down: readonly Level[], up: readonly Level[], middle: number): {
  transformer_layers_per_block?: number | Array<number | number[]>; reverse_transformer_layers_per_block?: Array<number | number[]>;
} {
  const innermost = down.length - 1;
  const [last] = down[innermost].depths;
  if (middle > 0 && last > 0 && last !== middle) {
    throw new RangeError(`UNet: has ${last} transformer blocks in the last level and ${middle} in the middle, takes as many`);
  }
  const counts = down.map(({ depths }, i) => new Set(
    [...depths, ...up[innermost - i].depths, ...i === innermost ? [middle] : []].filter(count => count > 0)));
  if (counts.some(({ size }) => size > 1)) {
    return {
      transformer_layers_per_block: down.map(({ depths }, i) => depths[0] > 0 ? depths : (i === innermost && middle) || 1),
      reverse_transformer_layers_per_block: up.map(({ depths }) => depths[0] > 0 ? depths : 1),
    };
  }
  const [first, ...others] = new Set(counts.flatMap(each => [...each]));
  if (others.length > 0) return { transformer_layers_per_block: counts.map(([count = 1]) => count) };
  return first === 1 ? {} : { transformer_layers_per_block: first };
}

/** What some are told besides: SDXL's sizes, and the text as a whole; others a class. */
function additions(shapes: Shapes): object {
  const first = shapes('label_emb.0.0.weight');
  const classes = shapes('label_emb.weight');
  if (classes) return { num_class_embeds: classes[0] };
  return first ? { addition_embed_type: 'text_time', addition_time_embed_dim: 256, projection_class_embeddings_input_dim: first[1] } : {};
}
