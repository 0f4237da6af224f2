import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow } from '../core/follow.js';
import { silu } from './activations.js';
import { Conv2d } from './conv2d.js';
import { GroupNorm } from './group_norm.js';
import { Linear } from './linear.js';

export interface ResnetBlock2DConfig {
  inChannels: number;
  outChannels?: number;
  /** Features of the time embedding; none in the VAE. */
  tembChannels?: number;
  groups: number;
  epsilon: number;
  /** What the sum is divided by. */
  outputScaleFactor?: number;
}

/**
 * Two convolutions with the time embedding added between them, added to the input.
 * - In: `[batch, height, width, inChannels]`, temb `[batch or 1, tembChannels]`; out: `[batch, height, width, outChannels]`.
 * - Weights below `norm1`, `conv1`, `time_emb_proj`, `norm2`, `conv2`, and `conv_shortcut` where the channels change.
 * Equals diffusers' ResnetBlock2D.
 */
export class ResnetBlock2D extends Block {
  static className = 'ResnetBlock2D';
  private readonly norm1: GroupNorm;
  private readonly conv1: Conv2d;
  private readonly timeEmbProj?: Linear;
  private readonly norm2: GroupNorm;
  private readonly conv2: Conv2d;
  private readonly convShortcut?: Linear;
  private readonly outChannels: number;
  private readonly outputScaleFactor: number;

  constructor({ inChannels, outChannels = inChannels, tembChannels, groups, epsilon, outputScaleFactor = 1 }: ResnetBlock2DConfig) {
    super();
    this.outChannels = outChannels;
    this.outputScaleFactor = outputScaleFactor;
    this.norm1 = this.add('norm1', new GroupNorm(groups, inChannels, epsilon));
    this.conv1 = this.add('conv1', new Conv2d(inChannels, outChannels));
    if (tembChannels) this.timeEmbProj = this.add('time_emb_proj', new Linear(tembChannels, outChannels));
    this.norm2 = this.add('norm2', new GroupNorm(groups, outChannels, epsilon));
    this.conv2 = this.add('conv2', new Conv2d(outChannels, outChannels));
    if (inChannels !== outChannels) this.convShortcut = this.add('conv_shortcut', new Linear(inChannels, outChannels));
  }

  forward(x: tf.Tensor, temb?: tf.Tensor): tf.Tensor {
    const { timeEmbProj } = this;
    const addTime = (state: tf.Tensor) => timeEmbProj && temb
      ? tf.add(state, tf.reshape(timeEmbProj.forward(silu(temb)), [-1, 1, 1, this.outChannels])) : state;
    return tf.tidy(() => {
      const hidden = follow(x, [this.norm1, silu, this.conv1, addTime, this.norm2, silu, this.conv2]);
      const sum = tf.add(this.convShortcut ? this.convShortcut.forward(x) : x, hidden);
      return this.outputScaleFactor === 1 ? sum : tf.div(sum, this.outputScaleFactor);
    });
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    const image = super.computeOutputShape(inputShape) as tf.Shape;
    return [...image.slice(0, 3), this.outChannels];
  }
}
