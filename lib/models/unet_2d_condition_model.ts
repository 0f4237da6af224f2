import * as tf from '@tensorflow/tfjs';
import type { Block } from '../core/block.js';
import { checkInteger, checkOneOf, checkShape, show } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { type Activation, getBlockActivation } from '../layers/activations.js';
import { AddedKVAttention } from '../layers/added_kv_attention.js';
import { BasicTransformerBlock } from '../layers/basic_transformer_block.js';
import { Conv2d, type Padding } from '../layers/conv2d.js';
import { Embedding } from '../layers/embedding.js';
import { GroupNorm } from '../layers/group_norm.js';
import { Linear } from '../layers/linear.js';
import { getTimestepEmbedding, TimestepEmbedding } from '../layers/timestep_embedding.js';
import { checkTokenMerging, type TokenMergingOptions } from '../layers/token_merging.js';
import { Transformer2DModel } from '../layers/transformer_2d.js';
import { perBlock } from './config.js';
import type { DeepCache } from './deep_cache.js';
import { Model } from './model.js';
import { DownBlock2D, MidBlock2D, UpBlock2D, type DownStep, type TextAttention, type UNetBlockConfig, type UpStep } from './unet_2d_blocks.js';
import { completeUNetConfig, type UNet2DConditionConfig } from './unet_2d_condition_config.js';

/** How a block attends to the text, if it does, and what changes its size. */
interface BlockKind {
  attention?: 'transformer' | 'added';
  sampling: 'conv' | 'resnet';
}

const DOWN_KINDS: Record<string, BlockKind> = {
  CrossAttnDownBlock2D: { attention: 'transformer', sampling: 'conv' },
  DownBlock2D: { sampling: 'conv' },
  SimpleCrossAttnDownBlock2D: { attention: 'added', sampling: 'resnet' },
  ResnetDownsampleBlock2D: { sampling: 'resnet' },
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
};

/** What a prediction is led by. */
export interface UNetConditions {
  /** The text: `[batch, tokens, features]`, of encoder_hid_dim features or, where that is null, cross_attention_dim. */
  encoderHiddenStates: tf.Tensor;
  /** The class of each sample, where the config has class embeddings: numbers, or for `identity` and projections vectors `[batch or 1, features]`. */
  classLabels?: readonly number[] | tf.Tensor;
  /** What is added to the timestep, where the config has a time_cond_proj_dim: `[batch or 1, time_cond_proj_dim]`. */
  timestepCond?: tf.Tensor;
}

/**
 * The denoiser: a U-shaped network over the latents that attends to the text.
 * Equals diffusers' UNet2DConditionModel for every SD1.x and SD2.x config, and many others (arXiv:2112.10752).
 * @throws RangeError for a config of another architecture, or one that contradicts itself.
 */
export class UNet2DConditionModel extends Model<UNet2DConditionConfig> {
  static className = 'UNet2DConditionModel';
  private readonly activation: Activation;
  private readonly convIn: Conv2d;
  private readonly timeEmbedding: TimestepEmbedding;
  private readonly encoderHidProj?: Linear;
  private readonly classEmbedding?: Embedding | TimestepEmbedding | Linear;
  private readonly downBlocks: DownBlock2D[];
  private readonly midBlock?: MidBlock2D;
  private readonly upBlocks: UpBlock2D[];
  private readonly downSteps: DownStep[];
  private readonly upSteps: UpStep[];
  private readonly convNormOut: GroupNorm;
  private readonly convOut: Conv2d;

  constructor(config: Partial<UNet2DConditionConfig> = {}) {
    super(completeUNetConfig(config));
    const { in_channels, out_channels, block_out_channels, conv_in_kernel, conv_out_kernel, norm_num_groups, norm_eps } = this.config;
    const { encoder_hid_dim, cross_attention_dim, time_cond_proj_dim: conditionDim } = this.config;
    const first = block_out_channels[0];
    const tembChannels = this.config.time_embedding_dim || 4 * first;
    this.activation = getBlockActivation('unet config: act_fn', this.config.act_fn);
    this.convIn = this.add('conv_in', new Conv2d(in_channels, first, { kernelSize: conv_in_kernel }));
    this.timeEmbedding = this.add('time_embedding', new TimestepEmbedding(first, tembChannels, { activation: this.activation, conditionDim }));
    if (encoder_hid_dim !== null) this.encoderHidProj = this.add('encoder_hid_proj', new Linear(encoder_hid_dim, cross_attention_dim as number));
    const classEmbedding = this.makeClassEmbedding(tembChannels);
    if (classEmbedding) this.classEmbedding = this.add('class_embedding', classEmbedding);
    [this.downBlocks, this.midBlock, this.upBlocks] = this.addBlocks(this.config.class_embeddings_concat ? 2 * tembChannels : tembChannels);
    [this.downSteps, this.upSteps] = [this.downBlocks.flatMap(block => block.steps), this.upBlocks.flatMap(block => block.steps)];
    this.convNormOut = this.add('conv_norm_out', new GroupNorm(norm_num_groups, first, norm_eps));
    this.convOut = this.add('conv_out', new Conv2d(first, out_channels, { kernelSize: conv_out_kernel }));
  }

  /**
   * What the scheduler's prediction type says (noise, velocity or sample), for noisy latents.
   * @param sample `[batch, height, width, in_channels]`, any height and width, but where resnets double them.
   * @param timestep one for all samples, or one for each.
   * @param conditions see UNetConditions; `deepCache`: what to take from earlier timesteps.
   * @returns `[batch, height, width, out_channels]`, float32 whatever the weights are; the caller disposes it.
   */
  compute(sample: tf.Tensor, timestep: number | readonly number[], { deepCache, ...conditions }: UNetConditions & { deepCache?: DeepCache }): tf.Tensor {
    const { encoderHiddenStates, timestepCond, classLabels } = conditions;
    const { in_channels, center_input_sample, time_cond_proj_dim } = this.config;
    checkShape('unet sample', sample.shape, [null, null, null, in_channels]);
    const batch = sample.shape[0];
    checkShape('unet encoderHiddenStates', encoderHiddenStates.shape, [batch, null, this.textFeatures]);
    const timesteps = typeof timestep === 'number' ? [timestep] : timestep;
    checkCount('timestep', 'timesteps', timesteps.length, batch);
    if (timestepCond) {
      checkShape('unet timestepCond', timestepCond.shape, [null, time_cond_proj_dim ?? 0]);
      checkCount('timestepCond', 'conditions', timestepCond.shape[0], batch);
    }
    const inputs = [
      center_input_sample ? tf.sub(tf.mul(sample, 2), 1) : sample, this.sinusoid(timesteps), encoderHiddenStates,
      ...(time_cond_proj_dim === null ? [] : [timestepCond ?? tf.zeros([1, time_cond_proj_dim])]), ...this.classInputs(classLabels, batch),
    ] as const;
    if (!deepCache) return this.graph('predict', this.predict, ...inputs);
    const joins = Math.min(deepCache.branchId + 1, this.skipConnections);
    const deep = deepCache.features(timesteps[0], batch, () => this.graph(`deep ${joins}`, this.deep.bind(this, joins), ...inputs));
    return this.graph(`shallow ${joins}`, this.shallow.bind(this, joins), deep, ...inputs);
  }

  /** Features of the text that it attends to. */
  get textFeatures(): number {
    return this.config.encoder_hid_dim ?? [this.config.cross_attention_dim].flat()[0];
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
  private readonly predict = (...inputs: tf.Tensor[]): tf.Tensor => this.finish(this.deep(0, ...inputs));

  /** All the way down, and up again as far as `joins` states are left to join. */
  private deep(joins: number, ...inputs: tf.Tensor[]): tf.Tensor {
    const [temb, text] = this.lead(inputs);
    const skips = this.goDown(this.downSteps, inputs[0], temb, text);
    const last = skips[skips.length - 1];
    const bottom = this.midBlock ? this.midBlock.forward(last, temb, text) : last;
    return goUp(this.upSteps.slice(0, this.upSteps.length - joins), bottom, skips, temb, text);
  }

  /** The rest of the way up from what `deep` gave, perhaps at another timestep: down only as far as the states reach that are joined. */
  private shallow(joins: number, deep: tf.Tensor, ...inputs: tf.Tensor[]): tf.Tensor {
    const [temb, text] = this.lead(inputs);
    const skips = this.goDown(this.downSteps.slice(0, joins - 1), inputs[0], temb, text);
    return this.finish(goUp(this.upSteps.slice(-joins), deep, skips, temb, text));
  }

  /** The time embedding `[batch or 1, tembChannels]` with what is added to it, and the text as the blocks attend to it. */
  private lead([, sinusoid, text, ...more]: readonly tf.Tensor[]): [temb: tf.Tensor, text: tf.Tensor] {
    const condition = this.config.time_cond_proj_dim === null ? undefined : more.shift();
    const time = this.timeEmbedding.forward(sinusoid, condition);
    const { classEmbedding } = this;
    const [classes] = more.map(input => classEmbedding && !(classEmbedding instanceof Embedding) ? classEmbedding.forward(input) : input);
    return [classes ? this.join(time, classes) : time, this.encoderHidProj?.forward(text) ?? text];
  }

  /** The embeddings of time and class as one. Each is of the batch, or of all of it at once. */
  private join(time: tf.Tensor, classes: tf.Tensor): tf.Tensor {
    if (!this.config.class_embeddings_concat) return tf.add(time, classes);
    const rows = Math.max(time.shape[0], classes.shape[0]);
    return tf.concat([time, classes].map(x => tf.tile(x, [rows / x.shape[0], 1])), -1);
  }

  /** Every state that the way up joins again. */
  private goDown(steps: readonly DownStep[], sample: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor[] {
    let x = this.convIn.forward(sample);
    return [x, ...steps.map(step => (x = step(x, temb, encoderHiddenStates)))];
  }

  private finish(x: tf.Tensor): tf.Tensor {
    return widen(this.convOut.forward(this.activation(this.convNormOut.forward(x))));
  }

  private sinusoid(timesteps: readonly number[]): tf.Tensor {
    const { block_out_channels, flip_sin_to_cos, freq_shift } = this.config;
    return getTimestepEmbedding(timesteps, block_out_channels[0], { flipSinToCos: flip_sin_to_cos, downscaleFreqShift: freq_shift });
  }

  /** The layer `class_embedding`; none where there are no classes, or they are taken as they are. */
  private makeClassEmbedding(tembChannels: number): Embedding | TimestepEmbedding | Linear | undefined {
    const { class_embed_type, num_class_embeds, block_out_channels, projection_class_embeddings_input_dim: features } = this.config;
    switch (class_embed_type) {
      case null: return num_class_embeds === null ? undefined : new Embedding(num_class_embeds, tembChannels);
      case 'timestep': return new TimestepEmbedding(block_out_channels[0], tembChannels, { activation: this.activation });
      case 'projection': return new TimestepEmbedding(features!, tembChannels);
      case 'simple_projection': return new Linear(features!, tembChannels);
    }
  }

  /** What `class_embedding` takes, checked, or gives for numbers; nothing where there are no classes. */
  private classInputs(labels: UNetConditions['classLabels'], batch: number): tf.Tensor[] {
    const { class_embed_type: type, num_class_embeds, projection_class_embeddings_input_dim } = this.config;
    if (!this.takesClasses) return [];
    const takesVectors = type !== null && type !== 'timestep';
    if (takesVectors !== labels instanceof tf.Tensor || labels === undefined) {
      throw new TypeError(`unet classLabels: got ${show(labels)}, takes ${takesVectors ? 'a tensor [samples, features]' : 'a list of numbers, one for each sample'}`);
    }
    checkCount('classLabels', 'classes', labels instanceof tf.Tensor ? labels.shape[0] : labels.length, batch);
    if (labels instanceof tf.Tensor) {
      const features = type === 'identity' ? this.timeEmbedding.outFeatures : projection_class_embeddings_input_dim;
      checkShape('unet classLabels', labels.shape, [null, features]);
      return [labels];
    }
    if (type === 'timestep') return [this.sinusoid(labels)];
    const numbers = labels.map(label => checkInteger('unet classLabels', label, 0, num_class_embeds! - 1));
    return [this.classEmbedding!.forward(tf.tensor1d(numbers, 'int32'))]; // here, for tfjs looks at such numbers, and a graph has none to look at
  }

  /** Whether it has to be told the class of each sample. */
  get takesClasses(): boolean {
    return this.config.class_embed_type !== null || this.config.num_class_embeds !== null;
  }

  /** The U: channels and skip connections as diffusers counts them. */
  private addBlocks(tembChannels: number): [DownBlock2D[], MidBlock2D | undefined, UpBlock2D[]] {
    const { config } = this;
    const channels = config.block_out_channels;
    const count = channels.length;
    const each = <T>(key: keyof UNet2DConditionConfig, value: T | T[]) => perBlock(`unet config: ${key}`, value, count);
    const layers = each('layers_per_block', config.layers_per_block);
    const downTypes = each('down_block_types', config.down_block_types);
    const upTypes = each('up_block_types', config.up_block_types);
    const onlyCross = each('only_cross_attention', config.only_cross_attention);
    const transformerLayers = each<number | number[]>('transformer_layers_per_block', config.transformer_layers_per_block);
    const upTransformerLayers = each('reverse_transformer_layers_per_block', config.reverse_transformer_layers_per_block ?? [...transformerLayers].reverse());
    const pad = config.downsample_padding;
    const downsamplePadding: Padding = pad === 0 ? [0, 1, 0, 1] : [pad, pad, pad, pad];
    const attentions = new TextAttentions(config, each('attention_head_dim', config.attention_head_dim), each('cross_attention_dim', config.cross_attention_dim));

    const resnets: UNetBlockConfig = {
      tembChannels, groups: config.norm_num_groups, epsilon: config.norm_eps, activation: this.activation,
      timeScaleShift: config.resnet_time_scale_shift as 'default' | 'scale_shift',
    };
    const resnetsOf = ({ sampling }: BlockKind): UNetBlockConfig => sampling === 'conv' ? resnets
      : { ...resnets, skipTimeAct: config.resnet_skip_time_act, outputScaleFactor: config.resnet_out_scale_factor };

    const skipChannels = [channels[0]];
    const downBlocks = channels.map((outChannels, i) => {
      const last = i === count - 1;
      const kind = kindOf('down_block_types', downTypes[i], DOWN_KINDS);
      skipChannels.push(...Array<number>(layers[i] + (last ? 0 : 1)).fill(outChannels));
      return this.add(`down_blocks.${i}`, new DownBlock2D({
        ...resnetsOf(kind), inChannels: channels[Math.max(0, i - 1)], outChannels, layers: layers[i],
        attention: attentions.of(kind, { level: i, headDimAt: i, layers: transformerLayers[i], onlyCross: onlyCross[i] }),
        downsample: last ? undefined : kind.sampling === 'resnet' ? 'resnet' : downsamplePadding,
      }));
    });

    const level = count - 1;
    const midKind = config.mid_block_type === null ? undefined : kindOf('mid_block_type', config.mid_block_type, MID_KINDS);
    const midOnlyCross = config.mid_block_only_cross_attention ?? (config.only_cross_attention === true);
    const midBlock = midKind && this.add('mid_block', new MidBlock2D({
      ...resnets, channels: channels[level], outputScaleFactor: config.mid_block_scale_factor,
      skipTimeAct: midKind.attention === 'added' && config.resnet_skip_time_act,
      attention: attentions.of(midKind, { level, headDimAt: level, layers: transformerLayers[level], onlyCross: midKind.attention === 'added' && midOnlyCross }),
    }));

    const upBlocks = channels.map((_, i) => {
      const level = count - 1 - i; // of the way down, whose channels, layers and heads this block has
      const kind = kindOf('up_block_types', upTypes[i], UP_KINDS);
      return this.add(`up_blocks.${i}`, new UpBlock2D({
        ...resnetsOf(kind), inChannels: channels[Math.min(level + 1, count - 1)], outChannels: channels[level],
        skipChannels: skipChannels.splice(-(layers[level] + 1)).reverse(), upsample: level > 0 ? kind.sampling : undefined,
        attention: attentions.of(kind, { level, headDimAt: i, layers: upTransformerLayers[i], onlyCross: onlyCross[level] }),
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

/** Makes the layers that attend to the text. */
class TextAttentions {
  constructor(private readonly config: UNet2DConditionConfig, private readonly headDims: readonly number[], private readonly textFeatures: readonly number[]) {}

  /**
   * How to make those of a block.
   * @param headDimAt whose features of a head added keys and values have: not of their level on the way up, as in diffusers.
   * @param layers of transformers, or those of each of the block's.
   */
  of(
    { attention }: BlockKind, { level, headDimAt, layers, onlyCross: onlyCrossAttention }: { level: number; headDimAt: number; layers: number | number[]; onlyCross: boolean },
  ): ((layer: number) => TextAttention) | undefined {
    const { headDims, textFeatures, config: { block_out_channels, norm_num_groups: groups, cross_attention_norm } } = this;
    const shared = { channels: block_out_channels[level], groups, crossAttentionDim: textFeatures[level], onlyCrossAttention };
    if (attention === 'transformer') {
      return layer => new Transformer2DModel({ ...shared, heads: headDims[level], layers: layersAt(layers, layer) });
    }
    if (attention !== 'added') return undefined;
    const heads = shared.channels / headDims[headDimAt];
    if (!Number.isInteger(heads)) throw new RangeError(`unet config: attention_head_dim: got ${headDims[headDimAt]}, takes a number that divides a block's ${shared.channels} channels`);
    return () => new AddedKVAttention({ ...shared, heads, crossAttentionNorm: cross_attention_norm as 'layer_norm' | 'group_norm' | null });
  }
}

/** @throws RangeError for another name than those of `kinds`, perhaps with the UNetRes before it that the first versions of diffusers wrote. */
function kindOf(key: string, type: string, kinds: Record<string, BlockKind>): BlockKind {
  const name = type.replace(/^UNetRes/, '');
  return kinds[checkOneOf(`unet ${key}`, name, Object.keys(kinds))];
}

function layersAt(layers: number | number[], layer: number): number {
  if (!Array.isArray(layers)) return layers;
  if (layer >= layers.length) throw new RangeError(`unet config: transformer_layers_per_block: got ${show(layers)} for a block, takes a number for each of its layers`);
  return layers[layer];
}

/** @throws RangeError unless there is one for all samples, or one for each. */
function checkCount(name: string, things: string, count: number, batch: number): void {
  if (count !== 1 && count !== batch) throw new RangeError(`unet ${name}: got ${count} ${things}, takes 1 or ${batch}, one for each sample`);
}
