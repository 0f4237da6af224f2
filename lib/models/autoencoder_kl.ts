import * as tf from '@tensorflow/tfjs';
import { checkShape, show } from '../core/checks.js';
import type { FloatDtype } from '../core/float16.js';
import { widen } from '../core/precision.js';
import { type Generator, randn } from '../core/random.js';
import { getBlockActivation } from '../layers/activations.js';
import { Linear } from '../layers/linear.js';
import { flag, LAYERS_PER_BLOCK, mergeConfig, optional, real, text, whole, type ConfigKeys } from './config.js';
import { PiecewiseAutoencoder } from './piecewise_autoencoder.js';
import { Decoder, Encoder, type VaeConfig } from './vae.js';

/** What `vae/config.json` says. The defaults are diffusers'. */
export interface AutoencoderKLConfig {
  in_channels: number;
  out_channels: number;
  down_block_types: string[];
  up_block_types: string[];
  block_out_channels: number[];
  layers_per_block: number;
  act_fn: string;
  latent_channels: number;
  norm_num_groups: number;
  /** Height and width of the images that the model was trained on. */
  sample_size: number;
  /** Latents are multiplied by it, so that their standard deviation is 1 for the UNet. */
  scaling_factor: number;
  /**
   * Subtracted from latents before they are multiplied. `latents_mean` and `latents_std`, by channel, are used instead if there are both.
   */
  shift_factor: number | null;
  latents_mean: number[] | null;
  latents_std: number[] | null;
  use_quant_conv: boolean;
  use_post_quant_conv: boolean;
  mid_block_add_attention: boolean;
  /** Whether its numbers grow too large for float16, so that pipelines of SDXL load it in float32 instead. */
  force_upcast: boolean;
}

const KEYS: ConfigKeys<AutoencoderKLConfig> = {
  in_channels: whole(3),
  out_channels: whole(3),
  down_block_types: text(['DownEncoderBlock2D']),
  up_block_types: text(['UpDecoderBlock2D']),
  block_out_channels: whole([64]),
  layers_per_block: whole(1, LAYERS_PER_BLOCK),
  act_fn: text('silu'),
  latent_channels: whole(4),
  norm_num_groups: whole(32),
  sample_size: whole(32),
  scaling_factor: real(0.18215, { positive: true }),
  shift_factor: optional(real(0.1, { signed: true })),
  latents_mean: optional(real([0], { signed: true })),
  latents_std: optional(real([1], { positive: true })),
  use_quant_conv: flag(true),
  use_post_quant_conv: flag(true),
  mid_block_add_attention: flag(true),
  force_upcast: flag(true),
};

/**
 * The autoencoder between images and latents.
 * Equals diffusers' AutoencoderKL (arXiv:1312.6114, arXiv:2112.10752).
 * @throws RangeError for a config of another architecture.
 */
export class AutoencoderKL extends PiecewiseAutoencoder<AutoencoderKLConfig> {
  static className = 'AutoencoderKL';
  private readonly encoder: Encoder;
  private readonly decoder: Decoder;
  private readonly quantConv?: Linear;
  private readonly postQuantConv?: Linear;

  constructor(config: Partial<AutoencoderKLConfig> = {}) {
    super(mergeConfig('vae config', KEYS, config));
    const { in_channels, out_channels, latent_channels, block_out_channels } = this.config;
    const { use_quant_conv, use_post_quant_conv, latents_mean, latents_std } = this.config;
    checkTypes('down_block_types', this.config.down_block_types, 'DownEncoderBlock2D', block_out_channels.length);
    checkTypes('up_block_types', this.config.up_block_types, 'UpDecoderBlock2D', block_out_channels.length);
    const shared: VaeConfig = {
      channels: block_out_channels,
      layersPerBlock: this.config.layers_per_block,
      groups: this.config.norm_num_groups,
      midAttention: this.config.mid_block_add_attention,
      activation: getBlockActivation('vae config: act_fn', this.config.act_fn),
    };
    for (const [key, values] of Object.entries({ latents_mean, latents_std })) {
      if (values && values.length !== latent_channels) {
        throw new RangeError(`vae config: ${key}: got ${show(values)}, takes ${latent_channels} numbers, one for each of latent_channels`);
      }
    }
    this.encoder = this.add('encoder', new Encoder(in_channels, 2 * latent_channels, shared));
    this.decoder = this.add('decoder', new Decoder(latent_channels, out_channels, shared));
    const convolve = (channels: number) => new Linear(channels, channels, { pointwise: true });
    if (use_quant_conv) this.quantConv = this.add('quant_conv', convolve(2 * latent_channels));
    if (use_post_quant_conv) this.postQuantConv = this.add('post_quant_conv', convolve(latent_channels));
  }

  /** How many pixels of the image, in height and in width, one latent stands for. */
  get scaleFactor(): number {
    return 2 ** (this.config.block_out_channels.length - 1);
  }

  /**
   * The distribution of an image's latents, not yet scaled by `scaling_factor`.
   * @param x `[batch, height, width, in_channels]` in [-1, 1].
   */
  encode(x: tf.Tensor): { latentDist: DiagonalGaussianDistribution } {
    checkShape('vae.encode', x.shape, [null, null, null, this.config.in_channels]);
    const { sample_size } = this.config;
    const sizes = { tileSize: sample_size, outputTileSize: sample_size / this.scaleFactor };
    const moments = this.runInPieces('encode', x, this.encodeImage, sizes);
    return { latentDist: new DiagonalGaussianDistribution(moments, this.weightDtype) };
  }

  /**
   * The image of latents that are divided by `scaling_factor` already.
   * @param z `[batch, height, width, latent_channels]`.
   * @returns `[batch, scaleFactor * height, scaleFactor * width, out_channels]`, about [-1, 1], always float32; the caller's.
   */
  decode(z: tf.Tensor): tf.Tensor {
    checkShape('vae.decode', z.shape, [null, null, null, this.config.latent_channels]);
    const { sample_size } = this.config;
    const sizes = { tileSize: sample_size / this.scaleFactor, outputTileSize: sample_size };
    return this.runInPieces('decode', z, this.decodeLatents, sizes);
  }

  protected checkTiling(): void {
    const { sample_size } = this.config;
    const unit = 4 * this.scaleFactor; // tiles overlap by a quarter
    if (sample_size === 0 || sample_size % unit !== 0) {
      throw new RangeError(`vae tiling: got sample_size ${sample_size}, takes a multiple of ${unit}`);
    }
  }

  /** Encodes to the most likely latents and decodes. */
  compute(x: tf.Tensor): tf.Tensor {
    const { latentDist } = this.encode(x);
    return this.decode(latentDist.mean);
  }

  /** Image to moments, as tensors alone: what a graph can hold. */
  private readonly encodeImage = (image: tf.Tensor): tf.Tensor => {
    const encoded = this.encoder.forward(image);
    return widen(this.quantConv ? this.quantConv.forward(encoded) : encoded);
  };

  /** Latents to image, as tensors alone: what a graph can hold. */
  private readonly decodeLatents = (latents: tf.Tensor): tf.Tensor =>
    widen(this.decoder.forward(this.postQuantConv ? this.postQuantConv.forward(latents) : latents));
}

/**
 * Independent normal distributions, one for each latent. Holds tensors: dispose it.
 * Equals diffusers' DiagonalGaussianDistribution.
 */
export class DiagonalGaussianDistribution {
  /** `[batch, height, width, latent_channels]` */
  readonly mean: tf.Tensor;
  /** Logarithm of the variance, within [-30, 20]; as `mean`. */
  readonly logvar: tf.Tensor;

  /**
   * Takes over `moments`: `[batch, height, width, 2 * latent_channels]`, means and then log-variances. `dtype` is the type that `sample`
   * draws.
   */
  constructor(moments: tf.Tensor, private readonly dtype?: FloatDtype) {
    [this.mean, this.logvar] = tf.tidy(() => {
      const [mean, logvar] = tf.split(moments, 2, -1);
      return [mean, tf.clipByValue(logvar, -30, 20)];
    });
    moments.dispose();
  }

  /** Draws latents: one from each distribution; with a list of n times as many generators, n from each, the distributions in turn. */
  sample(generator?: Generator | Generator[]): tf.Tensor {
    return tf.tidy(() => {
      const deviation = tf.exp(tf.mul(this.logvar, 0.5));
      const [batch, ...shape] = this.mean.shape;
      const turns = Array.isArray(generator) && generator.length % batch === 0 ? generator.length / batch : 1;
      const noise = randn([turns * batch, ...shape], generator, this.dtype);
      const inTurn = (x: tf.Tensor) => turns > 1 ? tf.tile(x, [turns, 1, 1, 1]) : x;
      return tf.add(inTurn(this.mean), tf.mul(inTurn(deviation), noise));
    });
  }

  /** The most likely latents. */
  mode(): tf.Tensor {
    return this.mean.clone();
  }

  dispose(): void {
    tf.dispose([this.mean, this.logvar]);
  }
}

function checkTypes(name: string, types: string[], accepted: string, count: number): void {
  if (types.length !== count || types.some(type => type !== accepted)) {
    throw new RangeError(`vae config: ${name}: got [${types.join(', ')}], takes ${count} times ${accepted}`);
  }
}
