import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow } from '../core/sequence.js';
import { silu, type Activation } from '../layers/activations.js';
import { SpatialAttention } from '../layers/attention.js';
import { Conv2d } from '../layers/conv2d.js';
import { Downsample2D } from '../layers/downsample_2d.js';
import { GroupNorm } from '../layers/group_norm.js';
import { ResnetBlock2D } from '../layers/resnet_block_2d.js';
import { Upsample2D } from '../layers/upsample_2d.js';

const EPSILON = 1e-6;

/** What the encoder and the decoder of one VAE are made from. */
export interface VaeConfig {
  /** From the image's side to the latents'. */
  channels: readonly number[];
  layersPerBlock: number;
  groups: number;
  midAttention: boolean;
  /** In the resnets alone. */
  activation: Activation;
}

/** What its resnets share. */
type ResnetConfig = Pick<VaeConfig, 'groups' | 'activation'>;

/**
 * An image to the moments of its latents.
 * - In: `[batch, height, width, inChannels]`; out: `[batch, height / 2^(levels - 1), width / 2^(levels - 1), outChannels]`.
 * - Weights below `conv_in`, `down_blocks.N`, `mid_block`, `conv_norm_out`, `conv_out`.
 * Equals diffusers' Encoder of AutoencoderKL.
 */
export class Encoder extends Block {
  static className = 'Encoder';
  private readonly path: Block[];
  private readonly convNormOut: GroupNorm;
  private readonly convOut: Conv2d;

  constructor(inChannels: number, outChannels: number, { channels, layersPerBlock, midAttention, ...resnet }: VaeConfig) {
    super();
    const last = channels.length - 1;
    this.path = [
      this.add('conv_in', new Conv2d(inChannels, channels[0])),
      ...this.addList('down_blocks', channels.length, i =>
        new VaeBlock(channels[Math.max(0, i - 1)], channels[i], layersPerBlock, resnet, i === last ? undefined : 'down')),
      this.add('mid_block', new VaeMidBlock(channels[last], resnet, midAttention)),
    ];
    this.convNormOut = this.add('conv_norm_out', new GroupNorm(resnet.groups, channels[last], EPSILON));
    this.convOut = this.add('conv_out', new Conv2d(channels[last], outChannels));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return follow(x, [...this.path, state => this.convNormOut.forward(state, silu), this.convOut]);
  }
}

/**
 * Latents to an image.
 * - In: `[batch, height, width, inChannels]`; out: `[batch, height * 2^(levels - 1), width * 2^(levels - 1), outChannels]`.
 * - Weights below `conv_in`, `mid_block`, `up_blocks.N`, `conv_norm_out`, `conv_out`.
 * Equals diffusers' Decoder of AutoencoderKL.
 */
export class Decoder extends Block {
  static className = 'Decoder';
  private readonly path: Block[];
  private readonly convNormOut: GroupNorm;
  private readonly convOut: Conv2d;

  constructor(inChannels: number, outChannels: number, { channels, layersPerBlock, midAttention, ...resnet }: VaeConfig) {
    super();
    const up = [...channels].reverse();
    const last = up.length - 1;
    this.path = [
      this.add('conv_in', new Conv2d(inChannels, up[0])),
      this.add('mid_block', new VaeMidBlock(up[0], resnet, midAttention)),
      ...this.addList('up_blocks', up.length, i =>
        new VaeBlock(up[Math.max(0, i - 1)], up[i], layersPerBlock + 1, resnet, i === last ? undefined : 'up')),
    ];
    this.convNormOut = this.add('conv_norm_out', new GroupNorm(resnet.groups, up[last], EPSILON));
    this.convOut = this.add('conv_out', new Conv2d(up[last], outChannels));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return follow(x, [...this.path, state => this.convNormOut.forward(state, silu), this.convOut]);
  }
}

/** Resnets, then a halving or doubling. Equals diffusers' DownEncoderBlock2D and UpDecoderBlock2D. */
class VaeBlock extends Block {
  static className = 'VaeBlock';
  private readonly path: Block[];

  constructor(inChannels: number, outChannels: number, layers: number, config: ResnetConfig, resample?: 'down' | 'up') {
    super();
    this.path = this.addList<Block>('resnets', layers, i =>
      new ResnetBlock2D({ ...config, inChannels: i === 0 ? inChannels : outChannels, outChannels, epsilon: EPSILON }));
    if (resample === 'down') this.path.push(this.add('downsamplers.0', new Downsample2D(outChannels, [0, 1, 0, 1])));
    if (resample === 'up') this.path.push(this.add('upsamplers.0', new Upsample2D(outChannels)));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return follow(x, this.path);
  }
}

/** Resnet, attention, resnet. Equals diffusers' UNetMidBlock2D as the VAE sets it: one head. */
class VaeMidBlock extends Block {
  static className = 'VaeMidBlock';
  private readonly path: Block[];

  constructor(channels: number, config: ResnetConfig, attention: boolean) {
    super();
    const [first, second] = this.addList('resnets', 2, () => new ResnetBlock2D({ ...config, inChannels: channels, epsilon: EPSILON }));
    this.path = attention
      ? [first, this.add('attentions.0', new SpatialAttention(channels, { groups: config.groups, epsilon: EPSILON })), second]
      : [first, second];
  }

  compute(x: tf.Tensor): tf.Tensor {
    return follow(x, this.path);
  }
}
