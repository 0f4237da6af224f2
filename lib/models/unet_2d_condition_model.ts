import * as tf from '@tensorflow/tfjs';
import type { Block } from '../core/block.js';
import { checkInteger, checkOneOf, checkShape, show } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { follow } from '../core/sequence.js';
import { AddedKVAttention } from '../layers/added_kv_attention.js';
import type { Attention } from '../layers/attention.js';
import { BasicTransformerBlock } from '../layers/basic_transformer_block.js';
import { Conv2d } from '../layers/conv2d.js';
import { checkFreeU, type FreeUOptions } from '../layers/free_u.js';
import { GroupNorm } from '../layers/group_norm.js';
import type { ImageProjectionConfig } from '../layers/image_projection.js';
import type { ImagePrompts, ScaledImagePrompts } from '../layers/ip_adapter_attention.js';
import { checkTokenMerging, type TokenMergingOptions } from '../layers/token_merging.js';
import type { ControlNetOutput } from './controlnet_output.js';
import type { DeepCache } from './deep_cache.js';
import { downsampleMasks } from './ip_adapter_masks.js';
import { IPAdapters, type IPAdapterScaleOfPath } from './ip_adapters.js';
import { KUpBlock2D } from './k_blocks.js';
import { UpBlock2D, type BlockConditions, type DownBlock2D } from './unet_2d_blocks.js';
import { blurs, completeUNetConfig, type UNet2DConditionConfig } from './unet_2d_condition_config.js';
import { UNetDownPath, type UNetConditions, type UNetInputs } from './unet_down_path.js';
import { upBlocks, type LevelBlock } from './unet_levels.js';

/** Tensors to add to the states on the way down. */
export interface UNetAdditions {
  /** What ControlNets add to the states that the way up joins, and to the middle's state. */
  control?: ControlNetOutput;
  /** What T2I-Adapters add within each block, and to the middle's state: see T2IAdapter. One for all samples or one for each. */
  downIntrablockAdditionalResiduals?: readonly tf.Tensor[];
}

/** Self-attentions that are switched off for the last samples of a batch, for perturbed-attention guidance (arXiv:2403.17377). */
export interface PerturbedAttention {
  /** The paths of the self-attentions, which `selfAttentions` lists. */
  readonly layers: readonly string[];
  /** For how many samples; the samples before them attend as usual. */
  readonly samples: number;
}

/** The same, as a graph takes it. */
type TakenAdditions = { control?: { down: tf.Tensor[]; mid: tf.Tensor }; residuals?: tf.Tensor[] };

/** All that it is given, as a graph takes it. */
type Inputs = UNetInputs & TakenAdditions & { images?: ScaledImagePrompts; perturbed?: { layers: string[]; samples: number } };

/**
 * The denoiser: a U-shaped network over the latents that attends to the text.
 * Equals diffusers' UNet2DConditionModel for every SD1.x, SD2.x and SDXL config, and many others (arXiv:2112.10752).
 * @throws RangeError for a config of another architecture, or one that contradicts itself.
 */
export class UNet2DConditionModel extends UNetDownPath<UNet2DConditionConfig> {
  static className = 'UNet2DConditionModel';
  /** As they run, from the innermost to the outermost. */
  private readonly upBlocks: ReadonlyArray<UpBlock2D | KUpBlock2D>;
  private readonly convNormOut?: GroupNorm;
  private readonly convOut: Conv2d;
  /** Attentions of transformers from the picture to itself, by their paths. */
  readonly selfAttentions: ReadonlyMap<string, Attention>;
  /** The IP-Adapters by which it attends to pictures, if it has some. */
  private adapters?: IPAdapters;

  constructor(config: Partial<UNet2DConditionConfig> = {}) {
    super(completeUNetConfig(config));
    const { levels, config: { out_channels, block_out_channels: [first], conv_out_kernel, norm_num_groups, norm_eps } } = this;
    const blocks = upBlocks(this.config);
    this.upBlocks = levels.toReversed().map(({ inChannels, channels, layers, down }, i) => {
      const level = levels.length - 1 - i;
      const up = blocks[level];
      const [innermost, outermost] = [i === 0, level === 0];
      if (up.sampling === 'blur') {
        const goesOn = innermost && down.attention !== undefined;
        checkGoesOn(goesOn, { up, inChannels, channels, tembChannels: this.tembChannels });
        return this.add(`up_blocks.${i}`, new KUpBlock2D({
          ...this.blurring(), layers, inChannels: channels, outChannels: inChannels, attention: up.attention, innermost, outermost, goesOn,
        }));
      }
      return this.add(`up_blocks.${i}`, new UpBlock2D({
        ...this.resnets(up.sampling), inChannels: levels[Math.min(level + 1, levels.length - 1)].channels, outChannels: channels,
        skipChannels: [...Array<number>(layers).fill(channels), inChannels], attention: up.attention,
        upsample: outermost ? undefined : up.sampling,
      }));
    });
    if (norm_num_groups !== null) this.convNormOut = this.add('conv_norm_out', new GroupNorm(norm_num_groups, first, norm_eps));
    this.convOut = this.add('conv_out', new Conv2d(first, out_channels, { kernelSize: conv_out_kernel }));
    this.selfAttentions = new Map(this.transformers().filter(([, { onlyCrossAttention }]) => !onlyCrossAttention)
      .map(([path, { attn1 }]) => [`${path}.attn1`, attn1]));
  }

  /**
   * Predicts for noisy latents what the scheduler's prediction type says: the noise, the velocity or the sample.
   * @param sample `[batch, height, width, in_channels]`, any height and width, but where resnets double them.
   * @param timestep one for all samples, or one for each.
   * @param conditions see UNetConditions and UNetAdditions; `deepCache`: what to take from earlier timesteps; `imagePrompts`: pictures to
   *   attend to, where there are IP-Adapters, as `projectImages` gives them; `perturbed`: where some samples do not attend.
   * @returns `[batch, height, width, out_channels]`, float32 whatever the weights are; the caller disposes it.
   */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[],
    {
      deepCache, control, downIntrablockAdditionalResiduals: residuals, imagePrompts, perturbed, ...conditions
    }: UNetConditions & UNetAdditions & { deepCache?: DeepCache; imagePrompts?: ImagePrompts; perturbed?: PerturbedAttention },
  ): tf.Tensor {
    if ((deepCache || control || residuals) && blurs(this.config)) {
      throw new RangeError('unet: got deepCache, control or downIntrablockAdditionalResiduals, takes none of them with K blocks');
    }
    const inputs = {
      ...this.takeInputs(sample, timestep, conditions),
      ...control && { control: this.takeControl(control, deepCache) },
      ...residuals && { residuals: [...residuals] },
      ...imagePrompts && { images: this.takeImages(imagePrompts, sample.shape[0]) },
      ...perturbed && { perturbed: this.takePerturbed(perturbed, sample.shape[0]) },
    };
    return deepCache ? this.predictWithCache(deepCache, [timestep].flat()[0], inputs) : this.graph('predict', this.predict, inputs);
  }

  /** Down, through the middle, and up again. */
  private readonly predict = ({ control, residuals, ...inputs }: Inputs): tf.Tensor => {
    const conditions = this.leadAll(inputs);
    const skips = this.goDown(this.convIn.forward(inputs.sample), conditions, Infinity, residuals);
    const middle = this.goThroughMiddle(skips, conditions, residuals);
    if (!control) return this.finish(this.goUp(middle, skips, conditions));
    const { down, mid } = control;
    const led = [...skips.map((state, i) => tf.add(state, down[i])), tf.add(middle, mid)];
    tf.dispose([...skips, middle]);
    return this.finish(this.goUp(led.pop()!, led, conditions));
  };

  /** What all blocks are told, also of what to attend to. */
  private leadAll({ images, perturbed, ...inputs }: Inputs): BlockConditions {
    const attentions = perturbed && new Set(perturbed.layers.map(path => this.selfAttentions.get(path)!));
    return { ...this.lead(inputs), images, perturbed: attentions && { attentions, samples: perturbed.samples } };
  }

  /** What a graph takes, whose name these numbers and texts are a part of. @throws RangeError for layers or samples that there are not. */
  private takePerturbed({ layers, samples }: PerturbedAttention, batch: number): Inputs['perturbed'] {
    const paths = [...this.selfAttentions.keys()];
    return {
      layers: layers.map(path => checkOneOf('unet perturbed.layers', path, paths)),
      samples: checkInteger('unet perturbed.samples', samples, 1, batch - 1),
    };
  }

  /** @throws RangeError for what is not of the states of this UNet. */
  private takeControl(
    { downBlockResSamples: down, midBlockResSample: mid }: ControlNetOutput, deepCache?: DeepCache,
  ): TakenAdditions['control'] {
    if (deepCache) throw new RangeError('unet deepCache: does not go together with control, which is new at each step');
    if (down.length !== this.skipConnections) {
      throw new RangeError(`unet control: got ${down.length} states of the way down, takes ${this.skipConnections}: ` +
        'it is of a ControlNet for another UNet');
    }
    return { down, mid };
  }

  /** The deep part as it is now or was before, up to the last states that are joined, and anew what is around it. */
  private predictWithCache(cache: DeepCache, timestep: number, inputs: Inputs): tf.Tensor {
    const joins = Math.min(cache.branchId + 1, this.skipConnections);
    const deep = cache.features(timestep, inputs.sample.shape[0], () => this.graph(`deep ${joins}`, inputs => {
      const conditions = this.leadAll(inputs);
      const skips = this.goDown(this.convIn.forward(inputs.sample), conditions, Infinity, inputs.residuals);
      return this.goUp(this.goThroughMiddle(skips, conditions, inputs.residuals), skips, conditions, 0, this.skipConnections - joins);
    }, inputs));
    return this.graph(`shallow ${joins}`, ({ deep, ...inputs }) => {
      const conditions = this.leadAll(inputs);
      const skips = this.goDown(this.convIn.forward(inputs.sample), conditions, joins, inputs.residuals);
      return this.finish(this.goUp(deep.clone(), skips, conditions, this.skipConnections - joins));
    }, { deep, ...inputs });
  }

  /** From `x` up again, from the layer `from` to before the layer `to`: joins the last of `skips` in turn. Both are taken over. */
  private goUp(x: tf.Tensor, skips: tf.Tensor[], conditions: BlockConditions, from = 0, to = this.skipConnections): tf.Tensor {
    let before = 0; // layers of the blocks before
    return follow(x, this.upBlocks.flatMap(block => {
      const [first, end] = [Math.max(from - before, 0), Math.min(to - before, block.joins)];
      before += block.joins;
      return first < end ? [(state: tf.Tensor) => block.forward(state, skips, conditions, first, end)] : [];
    }));
  }

  private finish(x: tf.Tensor): tf.Tensor {
    return widen(this.convOut.forward(this.convNormOut?.forward(x, this.activation) ?? x));
  }

  /** How many states of the way down are joined by the way up. */
  get skipConnections(): number {
    return this.upBlocks.reduce((sum, { joins }) => sum + joins, 0);
  }

  /**
   * Sets the weights that the first two blocks of the way up give to the states that they join, if the blocks are of the usual kinds; null
   * for none. See FreeUOptions.
   */
  setFreeU(options: FreeUOptions | null): void {
    const scales = options ? checkFreeU(options) : [];
    this.graphs?.clear();
    this.upBlocks.forEach((block, i) => {
      const isUsual = /^(UNetRes)?(CrossAttn)?UpBlock2D$/.test(this.config.up_block_types[i]); // others know nothing of it, as in diffusers
      if (block instanceof UpBlock2D && isUsual) block.freeU = scales.at(i) ?? null;
    });
  }

  /** Merges the tokens that are most alike, so that it attends to fewer of them; null for all of them. See TokenMergingOptions. */
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

  /** Whether attentions to the text see merged tokens. */
  get mergesCrossAttention(): boolean {
    return this.transformers().some(([, { merging }]) => merging?.mergeCrossattn === true);
  }

  /** The IP-Adapters by which it attends to pictures, if it has some. */
  get ipAdapters(): IPAdapters | undefined {
    return this.adapters;
  }

  /**
   * IP-Adapters that fit this UNet, without weights; `setIpAdapters` then makes it use them.
   * @throws RangeError for a UNet without attentions that could.
   */
  newIpAdapters(configs: readonly ImageProjectionConfig[]): IPAdapters {
    const attentions = this.textAttentions;
    const refuse = (what: string) => { throw new RangeError(`${what}, with which no IP-Adapter goes together`); };
    const { encoder_hid_dim: projected } = this.config;
    if (blurs(this.config)) refuse('unet: is made of K blocks');
    if (projected !== null) refuse(`unet: encoder_hid_dim: got ${show(projected)}`);
    const strange = [...this.namedDescendants()].find(([, block]) => block instanceof AddedKVAttention)?.[0];
    if (strange) refuse(`unet: ${strange} attends to text and picture at once`);
    if (attentions.size === 0) refuse('unet: got one that attends to no text');
    return new IPAdapters(attentions, configs);
  }

  /**
   * Makes it attend to pictures as well, by these IP-Adapters; earlier ones are disposed. With undefined it attends to pictures no longer.
   */
  setIpAdapters(adapters?: IPAdapters): void {
    this.graphs?.clear();
    const { adapters: old } = this;
    old?.projections.forEach((_, i) => this.drop(projectionPath(i)));
    adapters?.projections.forEach((projection, i) => this.add(projectionPath(i), projection));
    for (const [path, attention] of this.textAttentions) attention.setIpAdapters(adapters?.attentions.get(path));
    this.adapters = adapters;
    if (this.attentionSlice !== null) this.setAttentionSlice(this.attentionSlice);
  }

  /** Sets how strongly the IP-Adapters act. Where an adapter has strength 0, nothing is computed for it. */
  setIpAdapterScales(scaleOf: IPAdapterScaleOfPath): void {
    if (this.adapters?.setScales(scaleOf)) this.graphs?.clear();
  }

  /**
   * Pictures to attend to, for as many predictions as there are; the caller disposes them.
   * @param embeds see IPAdapters.
   * @param masks of each adapter where its pictures count, `[pictures, height, width]`; undefined for everywhere.
   * @param size height and width of the latents, where there are masks.
   */
  projectImages(
    embeds: readonly tf.Tensor[], masks: ReadonlyArray<tf.Tensor | undefined> = [], size: [number, number] = [1, 1],
  ): ImagePrompts {
    const { adapters } = this;
    if (!adapters || adapters.projections.length !== embeds.length) {
      throw new RangeError(`unet imageEmbeds: got ${embeds.length}, takes ${adapters?.projections.length ?? 0}, one for each IP-Adapter`);
    }
    return tf.tidy(() => {
      const states = adapters.forward(embeds); // once for a picture, so that no graph pays
      return { states, ...masks.some(mask => mask) && { masks: masks.map(mask => mask && this.masksBySize(mask, size)) } };
    });
  }

  /** A mask for each number of pixels that attentions see of latents of that size. */
  private masksBySize(masks: tf.Tensor, size: [number, number]): Record<number, tf.Tensor> {
    const queries = new Set<number>();
    for (const block of this.downBlocks as readonly DownBlock2D[]) { // others take no adapter
      queries.add(size[0] * size[1]);
      size = block.resultSize(size);
    }
    return Object.fromEntries([...queries.add(size[0] * size[1])].map(count => [count, downsampleMasks(masks, count)]));
  }

  /** @throws RangeError for pictures of other adapters, or of another batch. */
  private takeImages({ states, masks }: ImagePrompts, batch: number): ScaledImagePrompts {
    const { adapters } = this;
    if (!adapters || states.length !== adapters.projections.length) {
      const takes = adapters ? `pictures of ${adapters.projections.length} IP-Adapters` : 'none without IP-Adapters';
      throw new RangeError(`unet imagePrompts: got pictures of ${states.length} IP-Adapters, takes ${takes}`);
    }
    states.forEach(state => checkShape('unet imagePrompts.states', state.shape, [batch, null, null, this.textFeatures]));
    return { states, scales: adapters.scaleTensor(), ...masks && { masks } };
  }

  /** Attentions to the text by their paths, as adapters' files number them: of the way down, the way up, and the middle. */
  get textAttentions(): ReadonlyMap<string, Attention> {
    const found = this.transformers().map(([path, { attn2 }]) => [`${path}.attn2`, attn2] as const);
    const inMiddle = ([path]: readonly [string, Attention]) => path.startsWith('mid_block.');
    return new Map([...found.filter(entry => !inMiddle(entry)), ...found.filter(inMiddle)]);
  }

  private transformers(): Array<readonly [string, BasicTransformerBlock]> {
    return [...this.namedDescendants()].flatMap(([path, block]) => block instanceof BasicTransformerBlock ? [[path, block] as const] : []);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [...(super.computeOutputShape(inputShape) as tf.Shape).slice(0, 3), this.config.out_channels];
  }
}

function projectionPath(adapter: number): string {
  return `encoder_hid_proj.image_projection_layers.${adapter}`;
}

/**
 * Of blocks that blur the innermost that attends goes on from the way down, and none else: diffusers knows it by its channels.
 * @throws RangeError for a config where the two do not agree.
 */
function checkGoesOn(
  goesOn: boolean,
  { up, inChannels, channels, tembChannels }: { up: LevelBlock; inChannels: number; channels: number; tembChannels: number },
): void {
  if ((up.attention !== undefined && inChannels === channels && channels === tembChannels) === goesOn) return;
  const got = `channels ${inChannels} and ${channels} of a block and the next, and ${tembChannels} features of the time`;
  throw new RangeError(`unet config: got ${got}, takes all alike where the innermost K blocks attend to the text, and else not all`);
}
