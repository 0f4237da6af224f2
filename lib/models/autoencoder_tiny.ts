import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkShape, show } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { follow, type Step } from '../core/sequence.js';
import { getBlockActivation, type Activation } from '../layers/activations.js';
import { Conv2d } from '../layers/conv2d.js';
import { double } from '../layers/upsample_2d.js';
import { LAYERS_PER_BLOCK, mergeConfig, perBlock, real, text, whole, type ConfigKeys } from './config.js';
import { PiecewiseAutoencoder } from './piecewise_autoencoder.js';

/** What the config of a tiny autoencoder says. The defaults are diffusers', and TAESD's. */
export interface AutoencoderTinyConfig {
  in_channels: number;
  out_channels: number;
  encoder_block_out_channels: number[];
  decoder_block_out_channels: number[];
  num_encoder_blocks: number[];
  num_decoder_blocks: number[];
  latent_channels: number;
  act_fn: string;
  /** Latents are multiplied by it for the UNet: 1, because this autoencoder was trained on the UNet's own latents. */
  scaling_factor: number;
  /** Subtracted from latents before they are multiplied, by pipelines that use it. */
  shift_factor: number;
}

const KEYS: ConfigKeys<AutoencoderTinyConfig> = {
  in_channels: whole(3),
  out_channels: whole(3),
  encoder_block_out_channels: whole([64, 64, 64, 64]),
  decoder_block_out_channels: whole([64, 64, 64, 64]),
  num_encoder_blocks: whole([1, 3, 3, 3], LAYERS_PER_BLOCK),
  num_decoder_blocks: whole([3, 3, 3, 1], LAYERS_PER_BLOCK),
  latent_channels: whole(4),
  act_fn: text('relu'),
  scaling_factor: real(1, { positive: true }),
  shift_factor: real(0, { signed: true }),
};

/** What others set otherwise. */
const FOREIGN = { upsample_fn: ['nearest'], upsampling_scaling_factor: [2] };

/**
 * A small autoencoder that was taught by a large one: decodes in a fraction of the time, and loses details.
 * Equals diffusers' AutoencoderTiny (TAESD), but that `forward` does not round the latents to bytes.
 * @throws RangeError for a config of another architecture.
 */
export class AutoencoderTiny extends PiecewiseAutoencoder<AutoencoderTinyConfig> {
  static className = 'AutoencoderTiny';
  private readonly encoder: TinyStages;
  private readonly decoder: TinyStages;

  constructor(config: Partial<AutoencoderTinyConfig> = {}) {
    super(mergeConfig('vae config', KEYS, config, FOREIGN));
    const { in_channels, out_channels, latent_channels, num_encoder_blocks, num_decoder_blocks } = this.config;
    const encoderChannels = sameInEvery('encoder_block_out_channels', this.config.encoder_block_out_channels);
    const decoderChannels = sameInEvery('decoder_block_out_channels', this.config.decoder_block_out_channels);
    perBlock('vae config: num_encoder_blocks', num_encoder_blocks, this.config.encoder_block_out_channels.length);
    perBlock('vae config: num_decoder_blocks', num_decoder_blocks, this.config.decoder_block_out_channels.length);
    const activation = getBlockActivation('vae config: act_fn', this.config.act_fn);
    const encoder = new TinyStages('down', in_channels, encoderChannels, latent_channels, num_encoder_blocks, activation);
    const decoder = new TinyStages('up', latent_channels, decoderChannels, out_channels, num_decoder_blocks, activation);
    this.encoder = this.add('encoder', encoder);
    this.decoder = this.add('decoder', decoder);
  }

  /** How many pixels of the image, in height and in width, one latent stands for. */
  get scaleFactor(): number {
    return 2 ** (this.config.num_decoder_blocks.length - 1);
  }

  /**
   * The latents of an image; it gives no distribution.
   * @param x `[batch, height, width, in_channels]` in [-1, 1].
   * @returns `[batch, height / scaleFactor, width / scaleFactor, latent_channels]`; the caller disposes them.
   */
  encode(x: tf.Tensor): { latents: tf.Tensor } {
    checkShape('vae.encode', x.shape, [null, null, null, this.config.in_channels]);
    return { latents: this.runInPieces('encode', x, this.encodeImage) };
  }

  /**
   * The image of latents.
   * @param z `[batch, height, width, latent_channels]`.
   * @returns `[batch, scaleFactor * height, scaleFactor * width, out_channels]`, about [-1, 1], always float32; the caller's.
   */
  decode(z: tf.Tensor): tf.Tensor {
    checkShape('vae.decode', z.shape, [null, null, null, this.config.latent_channels]);
    return this.runInPieces('decode', z, this.decodeLatents);
  }

  /** There is little to save. */
  protected checkTiling(): never {
    throw new RangeError('AutoencoderTiny: has no tiles; decode whole, which takes little memory');
  }

  /** Encodes and decodes. */
  compute(x: tf.Tensor): tf.Tensor {
    return this.decode(this.encode(x).latents);
  }

  private readonly encodeImage = (image: tf.Tensor): tf.Tensor => widen(this.encoder.forward(tf.div(tf.add(image, 1), 2)));

  private readonly decodeLatents = (latents: tf.Tensor): tf.Tensor =>
    widen(tf.sub(tf.mul(this.decoder.forward(tf.mul(tf.tanh(tf.div(latents, 3)), 3)), 2), 1));
}

/**
 * Stages of blocks, each with half the size of the one before, or twice.
 * - In: `[batch, height, width, inChannels]`; out: `[batch, height', width', outChannels]`.
 * - Weights below `layers.N`, where activations and doublings count as well.
 * Equals diffusers' EncoderTiny and DecoderTiny, without what those do to the values before and after.
 */
class TinyStages extends Block {
  static className = 'TinyStages';
  /** One after another, as torch's Sequential counts them. */
  private readonly layers: Step[] = [];

  constructor(
    direction: 'down' | 'up', inChannels: number, channels: number, outChannels: number, blocks: readonly number[], activation: Activation,
  ) {
    super();
    const append = (layer: Block) => {
      this.layers.push(this.add(`layers.${this.layers.length}`, layer));
    };
    append(new Conv2d(inChannels, channels));
    if (direction === 'up') this.layers.push(activation);
    blocks.forEach((count, stage) => {
      if (direction === 'down' && stage > 0) append(new Conv2d(channels, channels, { stride: 2, bias: false }));
      for (let i = 0; i < count; i++) append(new TinyBlock(channels, activation));
      if (direction === 'down' || stage === blocks.length - 1) return;
      this.layers.push(double);
      append(new Conv2d(channels, channels, { bias: false }));
    });
    append(new Conv2d(channels, outChannels));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return follow(x, this.layers);
  }
}

/** Three convolutions, added to their input. Weights below `conv.0`, `conv.2`, `conv.4`. Equals diffusers' AutoencoderTinyBlock. */
class TinyBlock extends Block {
  static className = 'TinyBlock';
  private readonly convs: Conv2d[];

  constructor(channels: number, private readonly activation: Activation) {
    super();
    this.convs = [0, 2, 4].map(i => this.add(`conv.${i}`, new Conv2d(channels, channels)));
  }

  compute(x: tf.Tensor): tf.Tensor {
    const [first, second, third] = this.convs;
    return tf.relu(tf.add(follow(x, [first, this.activation, second, this.activation, third]), x));
  }
}

/** The number of channels, which are the same in every stage: nothing in between changes them. */
function sameInEvery(key: string, channels: readonly number[]): number {
  if (channels.some(each => each !== channels[0])) {
    throw new RangeError(`vae config: ${key}: got ${show(channels)}, takes the same number in every stage`);
  }
  return channels[0];
}
