import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow, type Step } from '../core/sequence.js';
import { Conv2d } from './conv2d.js';

/** What an AdapterBlock is made of. */
export interface AdapterBlockConfig {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly resnets: number;
  /** Whether it first halves height and width. */
  readonly halves: boolean;
  /** Whether it works in a quarter of the channels. */
  readonly light: boolean;
}

/** Two convolutions on top of the state. Equals diffusers' AdapterResnetBlock and, with a second kernel of 3, LightAdapterResnetBlock. */
class AdapterResnetBlock extends Block {
  static className = 'AdapterResnetBlock';
  private readonly block1: Conv2d;
  private readonly block2: Conv2d;

  constructor(channels: number, secondKernel: number) {
    super();
    this.block1 = this.add('block1', new Conv2d(channels, channels));
    this.block2 = this.add('block2', new Conv2d(channels, channels, { kernelSize: secondKernel }));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return tf.add(follow(x, [this.block1, h => tf.relu(h), this.block2]), x);
  }
}

/**
 * A stage of a T2I-Adapter: a halving, a change of channels and resnets, each as far as there is one.
 * - In: `[batch, height, width, inChannels]`; out: `[batch, height', width', outChannels]`, where an odd side is rounded up when halved.
 * - Weights below `in_conv`, `resnets.N` and, of a light one, `out_conv`.
 * Equals diffusers' AdapterBlock and LightAdapterBlock.
 */
export class AdapterBlock extends Block {
  static className = 'AdapterBlock';
  private readonly steps: readonly Step[];

  constructor({ inChannels, outChannels, resnets, halves, light }: AdapterBlockConfig) {
    super();
    const inner = light ? Math.floor(outChannels / 4) : outChannels;
    const convolve = (name: string, from: number, to: number) => this.add(name, new Conv2d(from, to, { kernelSize: 1 }));
    this.steps = [
      ...halves ? [halveUp] : [],
      ...light || inChannels !== outChannels ? [convolve('in_conv', inChannels, inner)] : [],
      ...this.addList('resnets', resnets, () => new AdapterResnetBlock(inner, light ? 3 : 1)),
      ...light ? [convolve('out_conv', inner, outChannels)] : [],
    ];
  }

  compute(x: tf.Tensor): tf.Tensor {
    return follow(x, this.steps);
  }
}

/** The mean of each four pixels; of a last odd row or column the mean of what is there. Equals AvgPool2d(2, 2, ceil_mode=True). */
function halveUp(x: tf.Tensor): tf.Tensor {
  return tf.avgPool(x as tf.Tensor4D, 2, 2, 'same');
}
