import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkShape } from '../core/checks.js';
import { narrow } from '../core/precision.js';
import { follow, type Step } from '../core/sequence.js';
import type { AddedKVAttention } from '../layers/added_kv_attention.js';
import type { AttentionConditions } from '../layers/attention.js';
import type { Padding } from '../layers/conv2d.js';
import { Downsample2D } from '../layers/downsample_2d.js';
import { weighByFreeU, type FreeUScales } from '../layers/free_u.js';
import { ResnetBlock2D, type ResnetBlock2DConfig } from '../layers/resnet_block_2d.js';
import { Transformer2DModel } from '../layers/transformer_2d.js';
import { Upsample2D } from '../layers/upsample_2d.js';

/** What attends to the text. */
export type TextAttention = Transformer2DModel | AddedKVAttention;

/** What all resnets of one block share, and what follows them. */
export interface UNetBlockConfig extends Omit<ResnetBlock2DConfig, 'inChannels' | 'outChannels' | 'resample'> {
  /** Makes what follows a resnet, where anything does. */
  attention?: (layer: number) => TextAttention;
}

/** What all blocks are told besides the image. */
export interface BlockConditions extends AttentionConditions {
  /** The time, and what is added to it, activated where resnets want it so: `[batch or 1, tembChannels]`. */
  readonly temb: tf.Tensor;
  /** `[batch, tokens, cross_attention_dim]` */
  readonly encoderHiddenStates: tf.Tensor;
}

/** A resnet, and what follows it. */
interface Layer {
  readonly resnet: ResnetBlock2D;
  readonly attention?: TextAttention;
}

const stepsOf = ({ resnet, attention }: Layer, { temb, encoderHiddenStates, ...conditions }: BlockConditions): Step[] => [
  state => resnet.forward(state, temb),
  ...attention ? [(state: tf.Tensor) => attention instanceof Transformer2DModel
    ? attention.forward(state, encoderHiddenStates, conditions) : attention.forward(state, encoderHiddenStates)] : [],
];

/** A state, and what is added to it from beside the UNet: of its size, one for all samples or one for each. */
export function addResidual(state: tf.Tensor, residual: tf.Tensor): tf.Tensor {
  const [batch, ...size] = state.shape;
  checkShape('unet downIntrablockAdditionalResiduals', residual.shape, [residual.shape[0] === 1 ? 1 : batch, ...size]);
  return tf.add(state, narrow(residual, state));
}

/**
 * Resnets, each followed by attention to the text if there is any, then a halving: by a convolution with some padding, or by a resnet.
 * - Weights below `resnets.N`, `attentions.N`, `downsamplers.0`.
 * Equals diffusers' DownBlock2D, CrossAttnDownBlock2D, ResnetDownsampleBlock2D and SimpleCrossAttnDownBlock2D.
 */
export class DownBlock2D extends Block {
  static className = 'DownBlock2D';
  private readonly layers: readonly Layer[];
  private readonly downsampler?: Downsample2D | ResnetBlock2D;

  constructor(config: UNetBlockConfig & { inChannels: number; outChannels: number; layers: number; downsample?: Padding | 'resnet' }) {
    super();
    const { inChannels, outChannels, layers, downsample, attention } = config;
    const resnets = this.addList('resnets', layers, i => new ResnetBlock2D({ ...config, inChannels: i === 0 ? inChannels : outChannels }));
    const attentions = attention && this.addList('attentions', layers, attention);
    this.layers = resnets.map((resnet, i) => ({ resnet, attention: attentions?.[i] }));
    if (downsample) {
      this.downsampler = this.add('downsamplers.0', downsample === 'resnet'
        ? new ResnetBlock2D({ ...config, inChannels: outChannels, resample: 'down' })
        : new Downsample2D(outChannels, downsample));
    }
  }

  /** Whether its layers attend to the text. */
  get attends(): boolean {
    return this.layers.some(({ attention }) => attention !== undefined);
  }

  /**
   * Every state that the way up joins, or the first `count` of them; the last one is the block's result.
   * @param residual what is added to the state of the last layer that attends or, where none does, to the block's result.
   */
  compute(x: tf.Tensor, conditions: BlockConditions, count = Infinity, residual?: tf.Tensor): tf.Tensor[] {
    const { layers, downsampler } = this;
    const ways = layers.map(layer => stepsOf(layer, conditions));
    if (downsampler) ways.push([state => downsampler.forward(state, conditions.temb)]);
    if (residual) ways[(this.attends ? layers : ways).length - 1].push(state => addResidual(state, residual));
    return ways.slice(0, count).map(steps => (x = follow(x, steps)));
  }

  /** Height and width of its result, of a picture of so many pixels. */
  resultSize([height, width]: readonly [number, number]): [number, number] {
    const { downsampler } = this;
    if (!downsampler) return [height, width];
    if (downsampler instanceof ResnetBlock2D) return [height >> 1, width >> 1];
    return (downsampler.computeOutputShape([1, height, width, 1]) as number[]).slice(1, 3) as [number, number];
  }
}

/**
 * A resnet, then attention to the text and a resnet if there is attention.
 * - Weights below `resnets.N`, `attentions.0`.
 * Equals diffusers' UNetMidBlock2DCrossAttn, UNetMidBlock2DSimpleCrossAttn and, without attention, the UNetMidBlock2D that a
 * UNet2DConditionModel makes.
 */
export class MidBlock2D extends Block {
  static className = 'MidBlock2D';
  private readonly layers: readonly Layer[];

  constructor(config: UNetBlockConfig & { channels: number }) {
    super();
    const { channels, attention } = config;
    const resnets = this.addList('resnets', attention ? 2 : 1, () => new ResnetBlock2D({ ...config, inChannels: channels }));
    const attentions = attention && this.addList('attentions', 1, attention);
    this.layers = resnets.map((resnet, i) => ({ resnet, attention: attentions?.[i] }));
  }

  compute(x: tf.Tensor, conditions: BlockConditions): tf.Tensor {
    return follow(x, this.layers.flatMap(layer => stepsOf(layer, conditions)));
  }
}

/**
 * Resnets on the state so far joined with one of the way down, each followed by attention to the text if there is any, then a doubling: by
 * a convolution, or by a resnet.
 * - Weights below `resnets.N`, `attentions.N`, `upsamplers.0`.
 * Equals diffusers' UpBlock2D, CrossAttnUpBlock2D, ResnetUpsampleBlock2D and SimpleCrossAttnUpBlock2D.
 */
export class UpBlock2D extends Block {
  static className = 'UpBlock2D';
  /** How it weighs what it joins, if it does. */
  freeU: FreeUScales | null = null;
  private readonly layers: readonly Layer[];
  private readonly upsampler?: Upsample2D | ResnetBlock2D;

  constructor(config: UNetBlockConfig & { inChannels: number; outChannels: number; skipChannels: number[]; upsample?: 'conv' | 'resnet' }) {
    super();
    const { inChannels, outChannels, skipChannels, upsample, attention } = config;
    const resnets = this.addList('resnets', skipChannels.length,
      i => new ResnetBlock2D({ ...config, inChannels: (i === 0 ? inChannels : outChannels) + skipChannels[i] }));
    const attentions = attention && this.addList('attentions', skipChannels.length, attention);
    this.layers = resnets.map((resnet, i) => ({ resnet, attention: attentions?.[i] }));
    if (upsample) {
      this.upsampler = this.add('upsamplers.0', upsample === 'resnet'
        ? new ResnetBlock2D({ ...config, inChannels: outChannels, resample: 'up' })
        : new Upsample2D(outChannels));
    }
  }

  /** How many states of the way down it joins. */
  get joins(): number {
    return this.layers.length;
  }

  /**
   * From its layer `from` to before its layer `to`, all by default. Each takes a state off the end of `skips`; these and `x` are taken
   * over, and freed as soon as they are joined.
   */
  compute(x: tf.Tensor, skips: tf.Tensor[], conditions: BlockConditions, from = 0, to = this.joins): tf.Tensor {
    const joinNext = (state: tf.Tensor) => joinStates(...this.weigh(state, skips.pop()!));
    const steps = this.layers.slice(from, to).flatMap(layer => [joinNext, ...stepsOf(layer, conditions)]);
    const { upsampler } = this;
    if (upsampler && to === this.joins) steps.push(state => double(upsampler, state, skips.at(-1)!, conditions.temb));
    return follow(x, steps);
  }

  /** What is joined, weighed, in place of both. */
  private weigh(state: tf.Tensor, skip: tf.Tensor): [tf.Tensor, tf.Tensor] {
    const { freeU } = this;
    if (!freeU) return [state, skip];
    const weighed = tf.tidy(() => weighByFreeU(state, skip, freeU));
    tf.dispose([state, skip]);
    return weighed;
  }
}

/** Both one behind the other, in place of both. @throws RangeError unless they are of one size. */
export function joinStates(state: tf.Tensor, skip: tf.Tensor): tf.Tensor {
  const [, height, width] = skip.shape;
  const what = 'unet sample of a height or width that does not halve evenly: the state after doubling';
  checkShape(what, state.shape, [null, height, width!, null]);
  const joined = tf.concat([state, skip], -1);
  tf.dispose([state, skip]);
  return joined;
}

/** To the size of what is joined next. */
function double(upsampler: Upsample2D | ResnetBlock2D, state: tf.Tensor, next: tf.Tensor, temb: tf.Tensor): tf.Tensor {
  const [, height, width] = next.shape;
  return upsampler instanceof Upsample2D ? upsampler.forward(state, [height, width!]) : upsampler.forward(state, temb);
}
