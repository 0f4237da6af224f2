import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow, type Step } from '../core/sequence.js';
import { silu, type Activation } from './activations.js';
import { Conv2d } from './conv2d.js';
import { halve } from './downsample_2d.js';
import { GroupNorm } from './group_norm.js';
import { Linear } from './linear.js';
import { double } from './upsample_2d.js';

export interface ResnetBlock2DConfig {
  inChannels: number;
  outChannels?: number;
  /** Features of the time embedding; none in the VAE. */
  tembChannels?: number;
  groups: number;
  epsilon: number;
  /** What the sum is divided by. */
  outputScaleFactor?: number;
  /** SiLU by default. */
  activation?: Activation;
  /** How the time embedding acts: added (`default`), or scaling and shifting the second norm's result. */
  timeScaleShift?: 'default' | 'scale_shift';
  /** Whether the time embedding is projected as it is, without an activation before. */
  skipTimeAct?: boolean;
  /** Halves or doubles height and width, by the mean of four pixels or by repeating one. */
  resample?: 'down' | 'up';
}

/**
 * Two convolutions with the time embedding added between them, added to the input.
 * - In: `[batch, height, width, inChannels]`, temb `[batch or 1, tembChannels]`; out: `[batch, height, width, outChannels]` or resampled.
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
  private readonly options: Required<Pick<ResnetBlock2DConfig, 'outputScaleFactor' | 'activation' | 'timeScaleShift' | 'skipTimeAct'>>;
  private readonly resample?: 'down' | 'up';

  constructor({ inChannels, outChannels = inChannels, tembChannels, groups, epsilon, resample, ...options }: ResnetBlock2DConfig) {
    super();
    const { outputScaleFactor = 1, activation = silu, timeScaleShift = 'default', skipTimeAct = false } = options;
    this.outChannels = outChannels;
    this.options = { outputScaleFactor, activation, timeScaleShift, skipTimeAct };
    this.resample = resample;
    this.norm1 = this.add('norm1', new GroupNorm(groups, inChannels, epsilon));
    this.conv1 = this.add('conv1', new Conv2d(inChannels, outChannels));
    const timeChannels = (timeScaleShift === 'default' ? 1 : 2) * outChannels;
    if (tembChannels) this.timeEmbProj = this.add('time_emb_proj', new Linear(tembChannels, timeChannels));
    this.norm2 = this.add('norm2', new GroupNorm(groups, outChannels, epsilon));
    this.conv2 = this.add('conv2', new Conv2d(outChannels, outChannels));
    if (inChannels !== outChannels) this.convShortcut = this.add('conv_shortcut', new Linear(inChannels, outChannels, { pointwise: true }));
  }

  compute(x: tf.Tensor, temb?: tf.Tensor): tf.Tensor {
    const { activation, outputScaleFactor } = this.options;
    const resampling = this.resample ? [RESAMPLING[this.resample]] : [];
    const shortcut = () => follow(x, this.convShortcut ? [...resampling, this.convShortcut] : resampling);
    const sum = follow(x, [
      state => this.norm1.forward(state, activation), ...resampling, this.conv1, ...this.normWith(temb),
      state => this.conv2.forward(state, shortcut),
    ]);
    return outputScaleFactor === 1 ? sum : tf.div(sum, outputScaleFactor);
  }

  /** The second norm and the activation, with what the time embedding changes before or between them. */
  private normWith(temb: tf.Tensor | undefined): Step[] {
    const { timeEmbProj, norm2, options: { activation, skipTimeAct, timeScaleShift } } = this;
    if (!timeEmbProj || !temb) return [state => norm2.forward(state, activation)];
    const time = () => tf.reshape(timeEmbProj.forward(skipTimeAct ? temb : activation(temb)), [-1, 1, 1, timeEmbProj.outFeatures]);
    if (timeScaleShift === 'default') return [state => norm2.forward(state, activation, time())];
    return [norm2, state => {
      const [scale, shift] = tf.split(time(), 2, -1);
      return tf.add(tf.mul(state, tf.add(scale, 1)), shift);
    }, activation];
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    const [batch, height, width] = super.computeOutputShape(inputShape) as tf.Shape;
    const resampled = (size: number | null) => size && (this.resample ? Math.floor(size * (this.resample === 'down' ? 0.5 : 2)) : size);
    return [batch, resampled(height), resampled(width), this.outChannels];
  }
}

const RESAMPLING = { down: halve, up: double };
