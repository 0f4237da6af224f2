import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels, type Addend } from '../core/kernels.js';
import { unpacked } from '../core/packed_tensor.js';

/** Zeros added around an image: top, bottom, left, right. */
export type Padding = readonly [number, number, number, number];

/** Options of `Conv2d`. */
export interface Conv2dOptions {
  /** Height and width of the kernel; 3 by default. */
  kernelSize?: number;
  /** Pixels from one place of the kernel to the next; 1 by default. */
  stride?: number;
  /** Default: (kernelSize - 1) / 2 on every side, rounded down. */
  padding?: Padding;
  /** Whether there is a bias; true by default. */
  bias?: boolean;
}

/**
 * Convolution.
 * - In: `[batch, height, width, inChannels]`; out: `[batch, height', width', outChannels]`.
 * - Weights: `weight` `[kernel, kernel, inChannels, outChannels]`, `bias` `[outChannels]` unless `bias: false`.
 * Equals torch.nn.Conv2d (whose padding at stride 2 is not TensorFlow's `same`). For a kernel of 1 use Linear.
 */
export class Conv2d extends Block {
  static className = 'Conv2d';
  private readonly stride: number;
  private readonly padding: Padding;

  constructor(readonly inChannels: number, readonly outChannels: number, options: Conv2dOptions = {}) {
    super();
    const { kernelSize = 3, stride = 1, padding, bias = true } = options;
    const around = (kernelSize - 1) >> 1;
    this.stride = stride;
    this.padding = padding ?? [around, around, around, around];
    this.addParameter('weight', [kernelSize, kernelSize, inChannels, outChannels], 'conv');
    if (bias) this.addParameter('bias', [outChannels]);
  }

  /** @param addend added to the result, shaped like it. */
  compute(x: tf.Tensor, addend?: Addend): tf.Tensor {
    const { stride, padding } = this;
    const weight = this.operand('weight');
    const bias = this.has('bias') ? this.parameter('bias') : undefined;
    const fused = kernels().conv2d?.(x, weight, bias, { stride, padding }, addend);
    if (fused) return fused;
    const [top, bottom, left, right] = padding;
    const y = tf.fused.conv2d({
      x: x as tf.Tensor4D, filter: unpacked(weight) as tf.Tensor4D, bias, strides: stride,
      pad: [[0, 0], [top, bottom], [left, right], [0, 0]],
    });
    return addend ? tf.add(y, addend()) : y;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    const [batch, height, width] = inputShape as tf.Shape;
    const kernelSize = this.parameterSpecs().get('weight')!.shape[0];
    const [top, bottom, left, right] = this.padding;
    const out = (size: number | null, pad: number) => size === null ? null : Math.floor((size + pad - kernelSize) / this.stride) + 1;
    return [batch, out(height, top + bottom), out(width, left + right), this.outChannels];
  }
}
