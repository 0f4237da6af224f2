import type * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow } from '../core/sequence.js';
import { silu } from './activations.js';
import { Conv2d } from './conv2d.js';

/**
 * A picture to steer by -> states of the size of latents: halved once less often than there are channels.
 * - In: `[batch, height, width, conditioningChannels]`; out: `[batch, height / 8, width / 8, outChannels]` of four channels.
 * - Weights below `conv_in`, `blocks.N`, `conv_out`.
 * Equals diffusers' ControlNetConditioningEmbedding (arXiv:2302.05543, 3.2).
 */
export class ControlNetConditioningEmbedding extends Block {
  static className = 'ControlNetConditioningEmbedding';
  private readonly convIn: Conv2d;
  private readonly blocks: readonly Conv2d[];
  private readonly convOut: Conv2d;

  constructor(outChannels: number, conditioningChannels: number, channels: readonly number[]) {
    super();
    this.convIn = this.add('conv_in', new Conv2d(conditioningChannels, channels[0]));
    this.blocks = this.addList('blocks', 2 * (channels.length - 1), i => {
      const from = channels[i >> 1];
      return i % 2 === 0 ? new Conv2d(from, from) : new Conv2d(from, channels[(i >> 1) + 1], { stride: 2 });
    });
    this.convOut = this.add('conv_out', new Conv2d(channels.at(-1)!, outChannels));
  }

  compute(picture: tf.Tensor): tf.Tensor {
    return follow(picture, [...[this.convIn, ...this.blocks].flatMap(conv => [conv, silu]), this.convOut]);
  }
}
