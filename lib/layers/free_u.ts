import * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';
import { narrow, widen } from '../core/precision.js';

/**
 * The weights that the first two blocks of a UNet's way up give to the two states that they join, named as in diffusers (FreeU,
 * arXiv:2309.11497).
 */
export interface FreeUOptions {
  /** Factor for the low frequencies of the way down's states in the first block; it prevents pictures that are too smooth. */
  s1: number;
  /** The same factor in the second block. */
  s2: number;
  /** Factor for half of the channels of the state that comes up, in the first block. */
  b1: number;
  /** The same factor in the second block. */
  b2: number;
}

/** Of one block. */
export interface FreeUScales {
  readonly s: number;
  readonly b: number;
}

/** Of the first two blocks. @throws RangeError for numbers that are not above 0. */
export function checkFreeU({ s1, s2, b1, b2 }: FreeUOptions): [FreeUScales, FreeUScales] {
  for (const [name, value] of Object.entries({ s1, s2, b1, b2 })) {
    if (!(Number.isFinite(value) && value > 0)) throw new RangeError(`${name}: got ${show(value)}, takes a number above 0`);
  }
  return [{ s: s1, b: b1 }, { s: s2, b: b2 }];
}

/**
 * A state from below, `[batch, height, width, channels]`, and one of the way down, weighed: others, in a tidy.
 * Equals apply_freeu of diffusers.
 */
export function weighByFreeU(state: tf.Tensor, skip: tf.Tensor, { s, b }: FreeUScales): [tf.Tensor, tf.Tensor] {
  return [scaleHalf(state, b), scaleSlowWaves(skip, s)];
}

function scaleHalf(x: tf.Tensor, scale: number): tf.Tensor {
  const channels = x.shape.at(-1)!;
  const half = Math.floor(channels / 2);
  const [first, second] = tf.split(x, [half, channels - half], -1);
  return tf.concat([tf.mul(first, scale), second], -1);
}

/**
 * What the Fourier transform has at the frequencies -1 and 0 of both axes, `scale` times as strong. That is a projection to a few waves, so
 * it takes two small products and no transform.
 */
function scaleSlowWaves(x: tf.Tensor, scale: number): tf.Tensor {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const pixels = height * width;
  const flat = tf.reshape(widen(x), [batch, pixels, channels]);
  const waves = slowWaves(height, width); // [1, waves, pixels]
  const slow = tf.matMul(waves, tf.matMul(waves, flat), true);
  return narrow(tf.reshape(tf.add(flat, tf.mul(slow, (scale - 1) / pixels)), x.shape), x);
}

/** Cosines and sines: `[1, waves, height * width]`. */
function slowWaves(height: number, width: number): tf.Tensor {
  const index = tf.range(0, height * width, 1, 'float32');
  const row = tf.floor(tf.div(tf.add(index, 0.5), width)); // safe from rounding
  const column = tf.sub(index, tf.mul(row, width));
  const [down, along] = [tf.mul(row, 2 * Math.PI / height), tf.mul(column, 2 * Math.PI / width)];
  const angles: tf.Tensor[] = [tf.zerosLike(index)]; // an axis of one pixel has the frequency 0 alone
  if (height > 1) angles.push(down);
  if (width > 1) angles.push(along);
  if (height > 1 && width > 1) angles.push(tf.add(down, along));
  const stacked = tf.stack(angles);
  return tf.expandDims(tf.concat([tf.cos(stacked), tf.sin(stacked)]), 0);
}
