import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import type { Padding } from '../layers/conv2d.js';
import { Downsample2D } from '../layers/downsample_2d.js';
import { ResnetBlock2D } from '../layers/resnet_block_2d.js';
import { Transformer2DModel, type Transformer2DConfig } from '../layers/transformer_2d.js';
import { Upsample2D } from '../layers/upsample_2d.js';

/** What all blocks of one UNet share, and one block's transformers, where it has any. */
export interface UNetBlockConfig {
  tembChannels: number;
  groups: number;
  epsilon: number;
  transformer?: Omit<Transformer2DConfig, 'channels' | 'groups'>;
}

/** A layer of the way down. The way up joins the state that it gives. */
export type DownStep = (x: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor) => tf.Tensor;

/** A layer of the way up: joins the last of `skips`, which it takes off and frees. */
export type UpStep = (x: tf.Tensor, skips: tf.Tensor[], temb: tf.Tensor, encoderHiddenStates: tf.Tensor) => tf.Tensor;

/**
 * Resnets, each followed by a transformer if there are any, then a halving.
 * - Weights below `resnets.N`, `attentions.N`, `downsamplers.0`.
 * Equals diffusers' DownBlock2D and, with transformers, CrossAttnDownBlock2D.
 */
export class DownBlock2D extends Block {
  static className = 'DownBlock2D';
  readonly steps: readonly DownStep[];

  constructor(config: UNetBlockConfig & { inChannels: number; outChannels: number; layers: number; downsamplePadding?: Padding }) {
    super();
    const { inChannels, outChannels, layers, downsamplePadding, transformer, groups } = config;
    const resnets = this.addList('resnets', layers, i => new ResnetBlock2D({ ...config, inChannels: i === 0 ? inChannels : outChannels }));
    const attentions = transformer && this.addList('attentions', layers, () => new Transformer2DModel({ ...transformer, channels: outChannels, groups }));
    const downsampler = downsamplePadding && this.add('downsamplers.0', new Downsample2D(outChannels, downsamplePadding));
    const steps: DownStep[] = resnets.map((resnet, i) => (x, temb, encoderHiddenStates) => tf.tidy(() => {
      const hidden = resnet.forward(x, temb);
      return attentions ? attentions[i].forward(hidden, encoderHiddenStates) : hidden;
    }));
    this.steps = downsampler ? [...steps, x => downsampler.forward(x)] : steps;
  }

  /** Every state that the way up joins again; the last one is the block's result. */
  forward(x: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor[] {
    return this.steps.map(step => (x = step(x, temb, encoderHiddenStates)));
  }
}

/**
 * A resnet, then a transformer and a resnet if there is a transformer.
 * - Weights below `resnets.N`, `attentions.0`.
 * Equals diffusers' UNetMidBlock2DCrossAttn and, without a transformer, the UNetMidBlock2D that a UNet2DConditionModel makes.
 */
export class MidBlock2D extends Block {
  static className = 'MidBlock2D';
  private readonly resnets: ResnetBlock2D[];
  private readonly attentions?: Transformer2DModel[];

  constructor(config: UNetBlockConfig & { channels: number; outputScaleFactor: number }) {
    super();
    const { channels, groups, transformer } = config;
    this.resnets = this.addList('resnets', transformer ? 2 : 1, () => new ResnetBlock2D({ ...config, inChannels: channels }));
    if (transformer) this.attentions = this.addList('attentions', 1, () => new Transformer2DModel({ ...transformer, channels, groups }));
  }

  forward(x: tf.Tensor, temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const hidden = this.resnets[0].forward(x, temb);
      return this.attentions ? this.resnets[1].forward(this.attentions[0].forward(hidden, encoderHiddenStates), temb) : hidden;
    });
  }
}

/**
 * Resnets on the state so far joined with one of the way down, each followed by a transformer if there are any, then a doubling.
 * - Weights below `resnets.N`, `attentions.N`, `upsamplers.0`.
 * Equals diffusers' UpBlock2D and, with transformers, CrossAttnUpBlock2D.
 */
export class UpBlock2D extends Block {
  static className = 'UpBlock2D';
  readonly steps: readonly UpStep[];

  constructor(config: UNetBlockConfig & { inChannels: number; outChannels: number; skipChannels: number[]; upsample: boolean }) {
    super();
    const { inChannels, outChannels, skipChannels, upsample, transformer, groups } = config;
    const layers = skipChannels.length;
    const resnets = this.addList('resnets', layers,
      i => new ResnetBlock2D({ ...config, inChannels: (i === 0 ? inChannels : outChannels) + skipChannels[i] }));
    const attentions = transformer && this.addList('attentions', layers, () => new Transformer2DModel({ ...transformer, channels: outChannels, groups }));
    const upsampler = upsample ? this.add('upsamplers.0', new Upsample2D(outChannels)) : undefined;
    this.steps = resnets.map((resnet, i) => (x, skips, temb, encoderHiddenStates) => {
      const skip = skips.pop()!;
      const joined = tf.tidy(() => {
        const hidden = resnet.forward(tf.concat([x, skip], -1), temb);
        return attentions ? attentions[i].forward(hidden, encoderHiddenStates) : hidden;
      });
      skip.dispose();
      if (!upsampler || i < layers - 1) return joined;
      const [, height, width] = skips[skips.length - 1].shape; // of the state that is joined next
      const doubled = upsampler.forward(joined, [height, width!]);
      joined.dispose();
      return doubled;
    });
  }

  /** Takes its states off the end of `skips` and frees them. */
  forward(x: tf.Tensor, skips: tf.Tensor[], temb: tf.Tensor, encoderHiddenStates: tf.Tensor): tf.Tensor {
    return tf.tidy(() => this.steps.reduce((state, step) => step(state, skips, temb, encoderHiddenStates), x));
  }
}
