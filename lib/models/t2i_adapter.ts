import * as tf from '@tensorflow/tfjs';
import { checkShape } from '../core/checks.js';
import { AdapterBlock } from '../layers/adapter_block.js';
import { Conv2d } from '../layers/conv2d.js';
import { pixelUnshuffle } from '../layers/pixel_unshuffle.js';
import { Model } from './model.js';
import { completeT2IAdapterConfig, type T2IAdapterConfig } from './t2i_adapter_config.js';
import type { StateSize } from './unet_levels.js';

/** From what is before it to a state. */
interface Stage {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly halves: boolean;
}

/**
 * Reads a picture to steer by, and gives tensors to add to a UNet's states. They are the same at each step, so it runs once for each
 * picture.
 * - Weights below `adapter.conv_in` (but of a light one) and `adapter.body.N`.
 * Equals diffusers' T2IAdapter (arXiv:2302.08453) of every `adapter_type`.
 * @throws RangeError for a config of another architecture, or one that contradicts itself.
 */
export class T2IAdapter extends Model<T2IAdapterConfig> {
  static className = 'T2IAdapter';
  private readonly stages: readonly Stage[];
  private readonly convIn?: Conv2d;
  private readonly body: readonly AdapterBlock[];

  constructor(config: Partial<T2IAdapterConfig> = {}) {
    super(completeT2IAdapterConfig(config));
    const { in_channels, channels, num_res_blocks: resnets, downscale_factor: factor, adapter_type } = this.config;
    const unshuffled = in_channels * factor ** 2;
    const light = adapter_type === 'light_adapter';
    this.stages = stagesOf(this.config, light ? unshuffled : channels[0]);
    if (!light) this.convIn = this.add('adapter.conv_in', new Conv2d(unshuffled, channels[0]));
    this.body = this.addList('adapter.body', this.stages.length, i => new AdapterBlock({ ...this.stages[i], resnets, light }));
  }

  /** A picture's height and width must be multiples of it. */
  get downscaleFactor(): number {
    return this.config.downscale_factor;
  }

  /** How many times smaller the smallest state is: diffusers counts one halving for `full_adapter_xl`, whatever its `channels`. */
  get totalDownscaleFactor(): number {
    const { adapter_type, downscale_factor } = this.config;
    return adapter_type === 'full_adapter_xl' ? 2 * downscale_factor : this.states.at(-1)!.scale;
  }

  /** The sizes of its outputs, relative to the picture. */
  get states(): StateSize[] {
    let scale = this.downscaleFactor;
    return this.stages.map(({ outChannels: channels, halves }) => ({ channels, scale: scale *= halves ? 2 : 1 }));
  }

  /**
   * The tensors to add to the states of a UNet, `downIntrablockAdditionalResiduals`.
   * @param picture within [0, 1]: `[batch, height, width, in_channels]`, height and width multiples of the downscale_factor.
   * @returns `[batch, height / scale, width / scale, channels]` of each of `states`, rounded up; the caller disposes them.
   */
  compute(picture: tf.Tensor): tf.Tensor[] {
    checkShape('adapter picture', picture.shape, [null, null, null, this.config.in_channels]);
    const [, height, width] = picture.shape;
    const factor = this.downscaleFactor;
    if (height % factor !== 0 || width! % factor !== 0) {
      throw new RangeError(`adapter picture: got ${height} x ${width} pixels, takes multiples of ${factor}`);
    }
    return this.graphOf('adapt', picture => {
      const squares = pixelUnshuffle(picture, factor);
      let state = this.convIn?.forward(squares) ?? squares;
      return this.body.map(block => state = block.forward(state));
    }, picture);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
    const [batch, height, width] = inputShape as tf.Shape;
    const side = (length: number | null, scale: number) => length && Math.ceil(length / scale);
    return this.states.map(({ channels, scale }) => [batch, side(height, scale), side(width, scale), channels]);
  }
}

/** @param first how many channels the first stage sees. */
function stagesOf({ channels, adapter_type }: T2IAdapterConfig, first: number): Stage[] {
  const outs = adapter_type === 'light_adapter' ? [...channels, channels.at(-1)!] : channels;
  return outs.map((outChannels, i) => ({
    outChannels, inChannels: i === 0 ? first : outs[i - 1], halves: adapter_type === 'full_adapter_xl' ? i === 2 : i > 0,
  }));
}
