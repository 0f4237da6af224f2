import * as tf from '@tensorflow/tfjs';
import type { Block } from '../core/block.js';
import { checkOneOf, checkShape } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { silu } from '../layers/activations.js';
import { BasicTransformerBlock } from '../layers/basic_transformer_block.js';
import { Conv2d, type Padding } from '../layers/conv2d.js';
import { GroupNorm } from '../layers/group_norm.js';
import { getTimestepEmbedding, TimestepEmbedding } from '../layers/timestep_embedding.js';
import { checkTokenMerging, type TokenMergingOptions } from '../layers/token_merging.js';
import { mergeConfig, perBlock, type ConfigRules } from './config.js';
import type { DeepCache } from './deep_cache.js';
import { Model } from './model.js';
import { DownBlock2D, MidBlock2D, UpBlock2D, type DownStep, type UNetBlockConfig, type UpStep } from './unet_2d_blocks.js';

/** What `unet/config.json` says, as far as SD1.x and SD2.x checkpoints set it. The defaults are diffusers'. */
export interface UNet2DConditionConfig {
  /** Height and width of the latents that the model was trained on. */
  sample_size: number | [number, number] | null;
  in_channels: number;
  out_channels: number;
  center_input_sample: boolean;
  flip_sin_to_cos: boolean;
  freq_shift: number;
  down_block_types: string[];
  mid_block_type: string | null;
  up_block_types: string[];
  only_cross_attention: boolean | boolean[];
  block_out_channels: number[];
  layers_per_block: number | number[];
  downsample_padding: number;
  mid_block_scale_factor: number;
  norm_num_groups: number;
  norm_eps: number;
  cross_attention_dim: number | number[];
  transformer_layers_per_block: number | number[];
  /** The number of heads, whatever its name says: diffusers keeps the misnomer that its checkpoints have. */
  attention_head_dim: number | number[];
  time_embedding_dim: number | null;
  conv_in_kernel: number;
  conv_out_kernel: number;
  /** Which diffusers wrote the config. */
  _diffusers_version: string | null;
}

const DEFAULTS: UNet2DConditionConfig = {
  sample_size: null,
  in_channels: 4,
  out_channels: 4,
  center_input_sample: false,
  flip_sin_to_cos: true,
  freq_shift: 0,
  down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  mid_block_type: 'UNetMidBlock2DCrossAttn',
  up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
  only_cross_attention: false,
  block_out_channels: [320, 640, 1280, 1280],
  layers_per_block: 2,
  downsample_padding: 1,
  mid_block_scale_factor: 1,
  norm_num_groups: 32,
  norm_eps: 1e-5,
  cross_attention_dim: 1280,
  transformer_layers_per_block: 1,
  attention_head_dim: 8,
  time_embedding_dim: null,
  conv_in_kernel: 3,
  conv_out_kernel: 3,
  _diffusers_version: null,
};

const RULES: ConfigRules<UNet2DConditionConfig> = {
  listable: ['only_cross_attention', 'layers_per_block', 'cross_attention_dim', 'transformer_layers_per_block', 'attention_head_dim'],
  nullable: ['mid_block_type'],
  fixed: { // what SDXL, Kandinsky, GLIGEN and others set otherwise
    act_fn: ['silu', 'swish'],
    num_attention_heads: [null],
    dual_cross_attention: [false],
    encoder_hid_dim: [null],
    encoder_hid_dim_type: [null],
    class_embed_type: [null],
    num_class_embeds: [null],
    addition_embed_type: [null],
    resnet_time_scale_shift: ['default'],
    resnet_skip_time_act: [false],
    time_embedding_type: ['positional'],
    time_embedding_act_fn: [null],
    timestep_post_act: [null],
    time_cond_proj_dim: [null],
    attention_type: ['default'],
    class_embeddings_concat: [false],
    cross_attention_norm: [null],
  },
};

/**
 * The denoiser: a U-shaped network over the latents that attends to the text.
 * Equals diffusers' UNet2DConditionModel for every SD1.x and SD2.x config (arXiv:2112.10752).
 * @throws RangeError for a config of another architecture, or one that contradicts itself.
 */
export class UNet2DConditionModel extends Model<UNet2DConditionConfig> {
  static className = 'UNet2DConditionModel';
  private readonly convIn: Conv2d;
  private readonly timeEmbedding: TimestepEmbedding;
  private readonly downBlocks: DownBlock2D[];
  private readonly midBlock?: MidBlock2D;
  private readonly upBlocks: UpBlock2D[];
  private readonly downSteps: DownStep[];
  private readonly upSteps: UpStep[];
  private readonly convNormOut: GroupNorm;
  private readonly convOut: Conv2d;

  constructor(config: Partial<UNet2DConditionConfig> = {}) {
    super(mergeConfig('unet config', DEFAULTS, config, RULES));
    const { in_channels, out_channels, block_out_channels, conv_in_kernel, conv_out_kernel, norm_num_groups, norm_eps } = this.config;
    const first = block_out_channels[0];
    const tembChannels = this.config.time_embedding_dim ?? 4 * first;
    this.convIn = this.add('conv_in', new Conv2d(in_channels, first, { kernelSize: conv_in_kernel }));
    this.timeEmbedding = this.add('time_embedding', new TimestepEmbedding(first, tembChannels));
    [this.downBlocks, this.midBlock, this.upBlocks] = this.addBlocks(tembChannels);
    [this.downSteps, this.upSteps] = [this.downBlocks.flatMap(block => block.steps), this.upBlocks.flatMap(block => block.steps)];
    this.convNormOut = this.add('conv_norm_out', new GroupNorm(norm_num_groups, first, norm_eps));
    this.convOut = this.add('conv_out', new Conv2d(first, out_channels, { kernelSize: conv_out_kernel }));
  }

  /**
   * What the scheduler's prediction type says (noise, velocity or sample), for noisy latents.
   * @param sample `[batch, height, width, in_channels]`, any height and width.
   * @param timestep one for all samples, or one for each.
   * @param options `encoderHiddenStates`: the text, `[batch, tokens, cross_attention_dim]`; `deepCache`: what to take from earlier timesteps.
   * @returns `[batch, height, width, out_channels]`, float32 whatever the weights are; the caller disposes it.
   */
  forward(
    sample: tf.Tensor, timestep: number | readonly number[], { encoderHiddenStates, deepCache }: { encoderHiddenStates: tf.Tensor; deepCache?: DeepCache },
  ): tf.Tensor {
    const { in_channels, center_input_sample, block_out_channels, flip_sin_to_cos, freq_shift } = this.config;
    checkShape('unet sample', sample.shape, [null, null, null, in_channels]);
    const batch = sample.shape[0];
    checkShape('unet encoderHiddenStates', encoderHiddenStates.shape, [batch, null, [this.config.cross_attention_dim].flat()[0]]);
    const timesteps = typeof timestep === 'number' ? [timestep] : timestep;
    if (timesteps.length !== 1 && timesteps.length !== batch) {
      throw new RangeError(`unet timestep: got ${timesteps.length} timesteps, takes 1 or ${batch}, one for each sample`);
    }
    return tf.tidy(() => {
      const sinusoid = getTimestepEmbedding(timesteps, block_out_channels[0], { flipSinToCos: flip_sin_to_cos, downscaleFreqShift: freq_shift });
      const inputs = [center_input_sample ? tf.sub(tf.mul(sample, 2), 1) : sample, sinusoid, encoderHiddenStates] as const;
      if (!deepCache) return this.graph('predict', this.predict, ...inputs);
      const joins = Math.min(deepCache.branchId + 1, this.skipConnections);
      const deep = deepCache.features(timesteps[0], batch, () => this.graph(`deep ${joins}`, this.deep.bind(this, joins), ...inputs));
      return this.graph(`shallow ${joins}`, this.shallow.bind(this, joins), ...inputs, deep);
    });
  }

  /** How many states of the way down the way up joins. */
  get skipConnections(): number {
    return this.upSteps.length;
  }

  /** Attends to fewer tokens, of which the most alike are merged, or to all of them (null). See TokenMergingOptions. */
  setTokenMerging(options: TokenMergingOptions | null): void {
    const merging = options && checkTokenMerging(options);
    this.graphs?.clear();
    const deepest = this.downBlocks.length - 1;
    const set = (root: Block | undefined, level: number) => {
      for (const block of root?.descendants() ?? []) {
        if (block instanceof BasicTransformerBlock) block.merging = merging && 2 ** level <= merging.maxDownsample ? merging : null;
      }
    };
    this.downBlocks.forEach(set);
    this.upBlocks.forEach((block, i) => set(block, deepest - i));
    set(this.midBlock, deepest);
  }

  /** All of the network that is tensors: what a graph can hold. */
  private readonly predict = (sample: tf.Tensor, sinusoid: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor =>
    this.finish(this.deep(0, sample, sinusoid, encoderHiddenStates));

  /** All the way down, and up again as far as `joins` states are left to join. */
  private deep(joins: number, sample: tf.Tensor, sinusoid: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
    const temb = this.timeEmbedding.forward(sinusoid); // [batch or 1, tembChannels]
    const skips = this.goDown(this.downSteps, sample, temb, encoderHiddenStates);
    const last = skips[skips.length - 1];
    const bottom = this.midBlock ? this.midBlock.forward(last, temb, encoderHiddenStates) : last;
    return goUp(this.upSteps.slice(0, this.upSteps.length - joins), bottom, skips, temb, encoderHiddenStates);
  }

  /** The rest of the way up from what `deep` gave, perhaps at another timestep: down only as far as the states reach that are joined. */
  private shallow(joins: number, sample: tf.Tensor, sinusoid: tf.Tensor, encoderHiddenStates: tf.Tensor, deep: tf.Tensor): tf.Tensor {
    const temb = this.timeEmbedding.forward(sinusoid);
    const skips = this.goDown(this.downSteps.slice(0, joins - 1), sample, temb, encoderHiddenStates);
    return this.finish(goUp(this.upSteps.slice(-joins), deep, skips, temb, encoderHiddenStates));
  }

  /** Every state that the way up joins again. */
  private goDown(steps: readonly DownStep[], sample: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor[] {
    let x = this.convIn.forward(sample);
    return [x, ...steps.map(step => (x = step(x, temb, encoderHiddenStates)))];
  }

  private finish(x: tf.Tensor): tf.Tensor {
    return widen(this.convOut.forward(silu(this.convNormOut.forward(x))));
  }

  /** The U: channels and skip connections as diffusers counts them. */
  private addBlocks(tembChannels: number): [DownBlock2D[], MidBlock2D | undefined, UpBlock2D[]] {
    const { config } = this;
    const channels = config.block_out_channels;
    const count = channels.length;
    const layers = perBlock('unet config: layers_per_block', config.layers_per_block, count);
    const heads = perBlock('unet config: attention_head_dim', config.attention_head_dim, count);
    const crossAttentionDim = perBlock('unet config: cross_attention_dim', config.cross_attention_dim, count);
    const transformerLayers = perBlock('unet config: transformer_layers_per_block', config.transformer_layers_per_block, count);
    const onlyCross = perBlock('unet config: only_cross_attention', config.only_cross_attention, count);
    const downTypes = perBlock('unet config: down_block_types', config.down_block_types, count);
    const upTypes = perBlock('unet config: up_block_types', config.up_block_types, count);
    const shared: UNetBlockConfig = { tembChannels, groups: config.norm_num_groups, epsilon: config.norm_eps };
    const transformer = (i: number, onlyCrossAttention = onlyCross[i]) =>
      ({ heads: heads[i], layers: transformerLayers[i], crossAttentionDim: crossAttentionDim[i], onlyCrossAttention });
    const pad = config.downsample_padding;
    const downsamplePadding: Padding = pad === 0 ? [0, 1, 0, 1] : [pad, pad, pad, pad];

    const skipChannels = [channels[0]];
    const downBlocks = channels.map((outChannels, i) => {
      const last = i === count - 1;
      const crosses = checkOneOf('unet down_block_types', downTypes[i], ['CrossAttnDownBlock2D', 'DownBlock2D']) === 'CrossAttnDownBlock2D';
      skipChannels.push(...Array<number>(layers[i] + (last ? 0 : 1)).fill(outChannels));
      return this.add(`down_blocks.${i}`, new DownBlock2D({
        ...shared, inChannels: channels[Math.max(0, i - 1)], outChannels, layers: layers[i],
        transformer: crosses ? transformer(i) : undefined, downsamplePadding: last ? undefined : downsamplePadding,
      }));
    });

    const midType = checkOneOf('unet mid_block_type', config.mid_block_type, ['UNetMidBlock2DCrossAttn', 'UNetMidBlock2D', null]);
    const midBlock = midType === null ? undefined : this.add('mid_block', new MidBlock2D({
      ...shared, channels: channels[count - 1], outputScaleFactor: config.mid_block_scale_factor,
      transformer: midType === 'UNetMidBlock2DCrossAttn' ? transformer(count - 1, false) : undefined,
    }));

    const upBlocks = channels.map((_, i) => {
      const level = count - 1 - i; // of the way down, whose channels, layers and heads this block has
      const crosses = checkOneOf('unet up_block_types', upTypes[i], ['CrossAttnUpBlock2D', 'UpBlock2D']) === 'CrossAttnUpBlock2D';
      return this.add(`up_blocks.${i}`, new UpBlock2D({
        ...shared, inChannels: channels[Math.min(level + 1, count - 1)], outChannels: channels[level],
        skipChannels: skipChannels.splice(-(layers[level] + 1)).reverse(), upsample: level > 0,
        transformer: crosses ? transformer(level) : undefined,
      }));
    });
    return [downBlocks, midBlock, upBlocks];
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [...(super.computeOutputShape(inputShape) as tf.Shape).slice(0, 3), this.config.out_channels];
  }
}

/** The states on the way are freed as soon as the next is there. */
function goUp(steps: readonly UpStep[], from: tf.Tensor, skips: tf.Tensor[], temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
  return steps.reduce((x, step) => {
    const next = step(x, skips, temb, encoderHiddenStates);
    if (x !== from) x.dispose();
    return next;
  }, from);
}
