import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels } from '../core/kernels.js';
import { Conv2d } from './conv2d.js';

/** Doubles height and width of `[batch, height, width, channels]` by repeating pixels, or makes them of another `size` [height, width]. */
export function double(x: tf.Tensor, size: [number, number] = [2 * x.shape[1]!, 2 * x.shape[2]!]): tf.Tensor {
  return kernels().repeatPixels?.(x, size) ?? tf.image.resizeNearestNeighbor(x as tf.Tensor4D, size);
}

/**
 * Doubles height and width by repeating pixels, then convolves.
 * - In: `[batch, height, width, channels]`; out: `[batch, 2 height, 2 width, channels]`, or the `size` [height, width] asked for
 *   (a UNet asks where halving an odd size lost a pixel).
 * - Weights below `conv`.
 * Equals diffusers' Upsample2D.
 */
export class Upsample2D extends Block {
  static className = 'Upsample2D';
  private readonly conv: Conv2d;

  constructor(channels: number) {
    super();
    this.conv = this.add('conv', new Conv2d(channels, channels));
  }

  compute(x: tf.Tensor, size?: [number, number]): tf.Tensor {
    return this.conv.forward(double(x, size));
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    const [batch, height, width, channels] = inputShape as tf.Shape;
    return [batch, height && 2 * height, width && 2 * width, channels];
  }
}
