import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { kernels } from '../core/kernels.js';
import { narrow, widen } from '../core/precision.js';
import { silu, type Activation } from './activations.js';

/** From so many on, a product is the fastest way to their mean. */
const MANY_PIXELS = 1024;

/**
 * Group normalization: y = weight * (x - mean) / sqrt(variance + epsilon) + bias, over height x width x channels/groups of each sample.
 * - In and out: `[batch, height, width, channels]`, float.
 * - Weights: `weight`, `bias`: `[channels]`.
 * Equals torch.nn.GroupNorm (arXiv:1803.08494).
 * @throws RangeError if `groups` does not divide `channels`.
 */
export class GroupNorm extends Block {
  static className = 'GroupNorm';

  constructor(readonly groups: number, readonly channels: number, readonly epsilon = 1e-5) {
    super();
    checkGroups('GroupNorm', channels, groups);
    this.addParameter('weight', [channels]);
    this.addParameter('bias', [channels]);
  }

  /**
   * @param activation of the result: by SiLU some backends do both at once.
   * @param shift what is added to `x` before, at once too where a backend can: `[1 or batch, 1, 1, channels]`.
   */
  compute(x: tf.Tensor, activation?: Activation, shift?: tf.Tensor): tf.Tensor {
    return groupNorm(x, this.parameter('weight'), this.parameter('bias'), this, activation, shift);
  }
}

/** What a group normalization is, but for its weights. */
interface Groups {
  readonly channels: number;
  readonly groups: number;
  readonly epsilon: number;
}

/** @throws RangeError if `groups` does not divide `channels`. */
export function checkGroups(name: string, channels: number, groups: number): void {
  if (channels % groups !== 0) throw new RangeError(`${name}: ${channels} channels do not divide into ${groups} groups`);
}

/** As the layer GroupNorm, with weight and bias `[channels]` from elsewhere. */
export function groupNorm(
  x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, sizes: Groups, activation?: Activation, shift?: tf.Tensor,
): tf.Tensor {
  const { groups, epsilon } = sizes;
  const atOnce = activation === silu;
  const options = { groups, epsilon, silu: atOnce };
  const fused = shift ? kernels().shiftedGroupNorm?.(x, shift, weight, bias, options) : kernels().groupNorm?.(x, weight, bias, options);
  if (fused && (atOnce || !activation)) return fused;
  if (shift && !fused) return groupNorm(tf.add(x, shift), weight, bias, sizes, activation);
  const normalized = fused ?? compose(x, widen(weight) as tf.Tensor1D, widen(bias) as tf.Tensor1D, sizes);
  return activation?.(normalized) ?? normalized;
}

function compose(x: tf.Tensor, weight: tf.Tensor1D, bias: tf.Tensor1D, groups: Groups): tf.Tensor {
  const [batch] = x.shape;
  const pixels = widen(tf.reshape(x, [batch, -1, groups.channels])); // [batch, height * width, channels]
  const mean = groupMean(pixels, groups); // in a pass of its own: there is no cancellation then where |mean| >> deviation
  const variance = tf.tidy(() => groupMean(tf.squaredDifference(pixels, mean), groups));
  return narrow(tf.reshape(normalize(pixels, { mean, variance, weight, bias }, groups), x.shape), x);
}

/** weight * (pixels - mean) / sqrt(variance + epsilon) + bias, with as few passes over the pixels as tfjs has. */
function normalize(
  pixels: tf.Tensor, { mean, variance, weight, bias }: { mean: tf.Tensor; variance: tf.Tensor; weight: tf.Tensor1D; bias: tf.Tensor1D },
  { channels, epsilon }: Groups,
): tf.Tensor {
  if (pixels.shape[0] === 1) {
    const [m, v] = [mean, variance].map(x => tf.reshape(x, [channels]) as tf.Tensor1D);
    return tf.batchNorm(tf.reshape(pixels, [1, 1, -1, channels]) as tf.Tensor4D, m, v, bias, weight, epsilon);
  }
  const scale = tf.mul(weight, tf.rsqrt(tf.add(variance, epsilon)));
  return tf.add(tf.mul(pixels, scale), tf.sub(bias, tf.mul(mean, scale)));
}

/** The mean of each sample's group, at each of its channels: `[batch, pixels, channels]` -> `[batch, 1, channels]`. */
function groupMean(pixels: tf.Tensor, { channels, groups }: Groups): tf.Tensor {
  const [batch, size] = pixels.shape;
  const perGroup = channels / groups;
  const perChannel = size < MANY_PIXELS ? tf.mean(pixels, 1) : tf.matMul(tf.fill([batch, 1, size], 1 / size), pixels);
  const mean = tf.mean(tf.reshape(perChannel, [batch, groups, perGroup]), 2, true);
  return tf.reshape(tf.tile(mean, [1, 1, perGroup]), [batch, 1, channels]);
}
