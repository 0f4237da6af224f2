import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkShape } from '../core/checks.js';
import type { AddedKVAttention } from '../layers/added_kv_attention.js';
import type { Padding } from '../layers/conv2d.js';
import { Downsample2D } from '../layers/downsample_2d.js';
import { ResnetBlock2D, type ResnetBlock2DConfig } from '../layers/resnet_block_2d.js';
import type { Transformer2DModel } from '../layers/transformer_2d.js';
import { Upsample2D } from '../layers/upsample_2d.js';

/** What attends to the text. */
export type TextAttention = Transformer2DModel | AddedKVAttention;

/** What all resnets of one block share, and what follows them. */
export interface UNetBlockConfig extends Omit<ResnetBlock2DConfig, 'inChannels' | 'outChannels' | 'resample'> {
  /** Makes what follows a resnet, where anything does. */
  attention?: (layer: number) => TextAttention;
}

/** A layer of the way down. The way up joins the state that it gives. */
export type DownStep = (x: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor) => tf.Tensor;

/** A layer of the way up: joins the last of `skips`, which it takes off and frees. */
export type UpStep = (x: tf.Tensor, skips: tf.Tensor[], temb: tf.Tensor, encoderHiddenStates: tf.Tensor) => tf.Tensor;

/**
 * Resnets, each followed by attention to the text if there is any, then a halving: by a convolution with some padding, or by a resnet.
 * - Weights below `resnets.N`, `attentions.N`, `downsamplers.0`.
 * Equals diffusers' DownBlock2D, CrossAttnDownBlock2D, ResnetDownsampleBlock2D and SimpleCrossAttnDownBlock2D.
 */
export class DownBlock2D extends Block {
  static className = 'DownBlock2D';
  readonly steps: readonly DownStep[];

  constructor(config: UNetBlockConfig & { inChannels: number; outChannels: number; layers: number; downsample?: Padding | 'resnet' }) {
    super();
    const { inChannels, outChannels, layers, downsample, attention } = config;
    const resnets = this.addList('resnets', layers, i => new ResnetBlock2D({ ...config, inChannels: i === 0 ? inChannels : outChannels }));
    const attentions = attention && this.addList('attentions', layers, attention);
    const downsampler = downsample && this.add('downsamplers.0', downsample === 'resnet'
      ? new ResnetBlock2D({ ...config, inChannels: outChannels, resample: 'down' })
      : new Downsample2D(outChannels, downsample));
    const steps: DownStep[] = resnets.map((resnet, i) => (x, temb, encoderHiddenStates) => tf.tidy(() => {
      const hidden = resnet.forward(x, temb);
      return attentions ? attentions[i].forward(hidden, encoderHiddenStates) : hidden;
    }));
    this.steps = downsampler ? [...steps, (x, temb) => downsampler.forward(x, temb)] : steps;
  }

  /** Every state that the way up joins again; the last one is the block's result. */
  compute(x: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor[] {
    return this.steps.map(step => (x = step(x, temb, encoderHiddenStates)));
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
  private readonly resnets: ResnetBlock2D[];
  private readonly attentions?: TextAttention[];

  constructor(config: UNetBlockConfig & { channels: number }) {
    super();
    const { channels, attention } = config;
    this.resnets = this.addList('resnets', attention ? 2 : 1, () => new ResnetBlock2D({ ...config, inChannels: channels }));
    if (attention) this.attentions = this.addList('attentions', 1, attention);
  }

  compute(x: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
    const hidden = this.resnets[0].forward(x, temb);
    return this.attentions ? this.resnets[1].forward(this.attentions[0].forward(hidden, encoderHiddenStates), temb) : hidden;
  }
}

/**
 * Resnets on the state so far joined with one of the way down, each followed by attention to the text if there is any, then a doubling: by a
 * convolution, or by a resnet.
 * - Weights below `resnets.N`, `attentions.N`, `upsamplers.0`.
 * Equals diffusers' UpBlock2D, CrossAttnUpBlock2D, ResnetUpsampleBlock2D and SimpleCrossAttnUpBlock2D.
 */
export class UpBlock2D extends Block {
  static className = 'UpBlock2D';
  readonly steps: readonly UpStep[];

  constructor(config: UNetBlockConfig & { inChannels: number; outChannels: number; skipChannels: number[]; upsample?: 'conv' | 'resnet' }) {
    super();
    const { inChannels, outChannels, skipChannels, upsample, attention } = config;
    const layers = skipChannels.length;
    const resnets = this.addList('resnets', layers,
      i => new ResnetBlock2D({ ...config, inChannels: (i === 0 ? inChannels : outChannels) + skipChannels[i] }));
    const attentions = attention && this.addList('attentions', layers, attention);
    const upsampler = upsample && this.add('upsamplers.0', upsample === 'resnet'
      ? new ResnetBlock2D({ ...config, inChannels: outChannels, resample: 'up' })
      : new Upsample2D(outChannels));
    this.steps = resnets.map((resnet, i) => (x, skips, temb, encoderHiddenStates) => {
      const skip = skips.pop()!;
      const joined = tf.tidy(() => {
        const hidden = resnet.forward(tf.concat([x, skip], -1), temb);
        return attentions ? attentions[i].forward(hidden, encoderHiddenStates) : hidden;
      });
      skip.dispose();
      if (!upsampler || i < layers - 1) return joined;
      const [, height, width] = skips[skips.length - 1].shape; // of the state that is joined next
      const doubled = upsampler instanceof Upsample2D ? upsampler.forward(joined, [height, width!]) : upsampler.forward(joined, temb);
      joined.dispose();
      checkShape('unet sample of a height or width that does not halve evenly: the state after doubling', doubled.shape, [null, height, width!, null]);
      return doubled;
    });
  }

  /** Takes its states off the end of `skips` and frees them. */
  compute(x: tf.Tensor, skips: tf.Tensor[], temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
    return this.steps.reduce((state, step) => step(state, skips, temb, encoderHiddenStates), x);
  }
}
