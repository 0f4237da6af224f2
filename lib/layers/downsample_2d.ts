import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { Conv2d, type Padding } from './conv2d.js';

/** Halves height and width of `[batch, height, width, channels]` by the mean of each four pixels. A last odd row or column is left out. */
export function halve(x: tf.Tensor): tf.Tensor {
  return tf.avgPool(x as tf.Tensor4D, 2, 2, 'valid');
}

/**
 * Halves height and width by a strided convolution.
 * - In: `[batch, height, width, channels]`; out: `[batch, height', width', channels]`.
 * - Weights below `conv`.
 * - padding: [1, 1, 1, 1] in the UNet, [0, 1, 0, 1] (below and right alone) in the VAE's encoder.
 * Equals diffusers' Downsample2D.
 */
export class Downsample2D extends Block {
  static className = 'Downsample2D';
  private readonly conv: Conv2d;

  constructor(channels: number, padding: Padding) {
    super();
    this.conv = this.add('conv', new Conv2d(channels, channels, { stride: 2, padding }));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return this.conv.forward(x);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return this.conv.computeOutputShape(inputShape);
  }
}
