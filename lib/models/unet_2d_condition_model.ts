import * as tf from '@tensorflow/tfjs';
import type { Block } from '../core/block.js';
import { widen } from '../core/precision.js';
import { follow } from '../core/sequence.js';
import { BasicTransformerBlock } from '../layers/basic_transformer_block.js';
import { Conv2d } from '../layers/conv2d.js';
import { GroupNorm } from '../layers/group_norm.js';
import { checkTokenMerging, type TokenMergingOptions } from '../layers/token_merging.js';
import type { ControlNetOutput } from './controlnet_output.js';
import type { DeepCache } from './deep_cache.js';
import { UpBlock2D, type BlockConditions } from './unet_2d_blocks.js';
import { completeUNetConfig, type UNet2DConditionConfig } from './unet_2d_condition_config.js';
import { UNetDownPath, type UNetConditions, type UNetInputs } from './unet_down_path.js';
import { upBlocks } from './unet_levels.js';

/** What others add to the states on the way down. */
export interface UNetAdditions {
  /** What ControlNets add to the states that the way up joins, and to the middle's. */
  control?: ControlNetOutput;
  /** What T2I-Adapters add within each block, and to the middle's state: see T2IAdapter. One for all samples or one for each. */
  downIntrablockAdditionalResiduals?: readonly tf.Tensor[];
}

/** The same, as a graph takes it. */
type TakenAdditions = { control?: { down: tf.Tensor[]; mid: tf.Tensor }; residuals?: tf.Tensor[] };

/**
 * The denoiser: a U-shaped network over the latents that attends to the text.
 * Equals diffusers' UNet2DConditionModel for every SD1.x, SD2.x and SDXL config, and many others (arXiv:2112.10752).
 * @throws RangeError for a config of another architecture, or one that contradicts itself.
 */
export class UNet2DConditionModel extends UNetDownPath<UNet2DConditionConfig> {
  static className = 'UNet2DConditionModel';
  /** As they run, from the innermost to the outermost. */
  private readonly upBlocks: readonly UpBlock2D[];
  private readonly convNormOut: GroupNorm;
  private readonly convOut: Conv2d;

  constructor(config: Partial<UNet2DConditionConfig> = {}) {
    super(completeUNetConfig(config));
    const { levels, config: { out_channels, block_out_channels: [first], conv_out_kernel, norm_num_groups, norm_eps } } = this;
    const blocks = upBlocks(this.config);
    this.upBlocks = levels.toReversed().map(({ inChannels, channels, layers }, i) => {
      const level = levels.length - 1 - i;
      const { sampling, attention } = blocks[level];
      return this.add(`up_blocks.${i}`, new UpBlock2D({
        ...this.resnets(sampling), inChannels: levels[Math.min(level + 1, levels.length - 1)].channels, outChannels: channels,
        skipChannels: [...Array<number>(layers).fill(channels), inChannels], attention, upsample: level > 0 ? sampling : undefined,
      }));
    });
    this.convNormOut = this.add('conv_norm_out', new GroupNorm(norm_num_groups, first, norm_eps));
    this.convOut = this.add('conv_out', new Conv2d(first, out_channels, { kernelSize: conv_out_kernel }));
  }

  /**
   * What the scheduler's prediction type says (noise, velocity or sample), for noisy latents.
   * @param sample `[batch, height, width, in_channels]`, any height and width, but where resnets double them.
   * @param timestep one for all samples, or one for each.
   * @param conditions see UNetConditions and UNetAdditions; `deepCache`: what to take from earlier timesteps.
   * @returns `[batch, height, width, out_channels]`, float32 whatever the weights are; the caller disposes it.
   */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[],
    {
      deepCache, control, downIntrablockAdditionalResiduals: residuals, ...conditions
    }: UNetConditions & UNetAdditions & { deepCache?: DeepCache },
  ): tf.Tensor {
    const inputs = {
      ...this.takeInputs(sample, timestep, conditions),
      ...control && { control: this.takeControl(control, deepCache) },
      ...residuals && { residuals: [...residuals] },
    };
    return deepCache ? this.predictWithCache(deepCache, [timestep].flat()[0], inputs) : this.graph('predict', this.predict, inputs);
  }

  /** Down, through the middle, and up again. */
  private readonly predict = ({ control, residuals, ...inputs }: UNetInputs & TakenAdditions): tf.Tensor => {
    const conditions = this.lead(inputs);
    const skips = this.goDown(this.convIn.forward(inputs.sample), conditions, Infinity, residuals);
    const middle = this.goThroughMiddle(skips, conditions, residuals);
    if (!control) return this.finish(this.goUp(middle, skips, conditions));
    const { down, mid } = control;
    const led = [...skips.map((state, i) => tf.add(state, down[i])), tf.add(middle, mid)];
    tf.dispose([...skips, middle]);
    return this.finish(this.goUp(led.pop()!, led, conditions));
  };

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
  private predictWithCache(cache: DeepCache, timestep: number, inputs: UNetInputs & Pick<TakenAdditions, 'residuals'>): tf.Tensor {
    const joins = Math.min(cache.branchId + 1, this.skipConnections);
    const deep = cache.features(timestep, inputs.sample.shape[0], () => this.graph(`deep ${joins}`, inputs => {
      const conditions = this.lead(inputs);
      const skips = this.goDown(this.convIn.forward(inputs.sample), conditions, Infinity, inputs.residuals);
      return this.goUp(this.goThroughMiddle(skips, conditions, inputs.residuals), skips, conditions, 0, this.skipConnections - joins);
    }, inputs));
    return this.graph(`shallow ${joins}`, ({ deep, ...inputs }) => {
      const conditions = this.lead(inputs);
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
    return widen(this.convOut.forward(this.activation(this.convNormOut.forward(x))));
  }

  /** How many states of the way down the way up joins. */
  get skipConnections(): number {
    return this.upBlocks.reduce((sum, { joins }) => sum + joins, 0);
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

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [...(super.computeOutputShape(inputShape) as tf.Shape).slice(0, 3), this.config.out_channels];
  }
}
