import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow } from '../core/sequence.js';
import type { Activation } from './activations.js';
import { AdaGroupNorm } from './ada_group_norm.js';
import { Conv2d } from './conv2d.js';
import { Linear } from './linear.js';

export interface ResnetBlockCondNorm2DConfig {
  inChannels: number;
  /** Between the convolutions; `outChannels` by default. */
  midChannels?: number;
  outChannels: number;
  /** Features of the time embedding. */
  tembChannels: number;
  /** Of the norms before the first convolution and before the second. */
  groups: readonly [number, number];
  epsilon: number;
  activation: Activation;
}

/**
 * Two convolutions, each after a norm that the time embedding scales and shifts, added to the input.
 * - In: `[batch, height, width, inChannels]`, temb `[batch or 1, tembChannels]`; out: `[batch, height, width, outChannels]`.
 * - Weights below `norm1`, `conv1`, `norm2`, `conv2`, and `conv_shortcut` where the channels change.
 * Equals diffusers' ResnetBlockCondNorm2D with `ada_group` and no bias in the shortcut.
 */
export class ResnetBlockCondNorm2D extends Block {
  static className = 'ResnetBlockCondNorm2D';
  private readonly norm1: AdaGroupNorm;
  private readonly conv1: Conv2d;
  private readonly norm2: AdaGroupNorm;
  private readonly conv2: Conv2d;
  private readonly convShortcut?: Linear;
  private readonly outChannels: number;
  private readonly activation: Activation;

  constructor(config: ResnetBlockCondNorm2DConfig) {
    super();
    const { inChannels, outChannels, midChannels = outChannels, tembChannels, groups, epsilon, activation } = config;
    this.outChannels = outChannels;
    this.activation = activation;
    this.norm1 = this.add('norm1', new AdaGroupNorm(tembChannels, inChannels, groups[0], epsilon));
    this.conv1 = this.add('conv1', new Conv2d(inChannels, midChannels));
    this.norm2 = this.add('norm2', new AdaGroupNorm(tembChannels, midChannels, groups[1], epsilon));
    this.conv2 = this.add('conv2', new Conv2d(midChannels, outChannels));
    if (inChannels !== outChannels) {
      this.convShortcut = this.add('conv_shortcut', new Linear(inChannels, outChannels, { bias: false, pointwise: true }));
    }
  }

  compute(x: tf.Tensor, temb: tf.Tensor): tf.Tensor {
    const { norm1, conv1, norm2, conv2, activation } = this;
    const hidden = follow(x, [
      state => norm1.forward(state, temb), activation, conv1, state => norm2.forward(state, temb), activation, conv2,
    ]);
    return tf.add(this.convShortcut?.forward(x) ?? x, hidden);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [...(super.computeOutputShape(inputShape) as tf.Shape).slice(0, 3), this.outChannels];
  }
}
