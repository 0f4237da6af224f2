import type * as tf from '@tensorflow/tfjs';
import type { History } from './history.js';
import { weightedSum } from './weighted_sum.js';

/** Weights of the newest value and those before, by how many there are. */
const WEIGHTS = [[], [1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]];

/** The mean slope over the next of even steps, from the slopes of up to four steps before. */
export function adamsBashforth(slopes: History): tf.Tensor {
  return weightedSum(...WEIGHTS[slopes.length].map((weight, age) => [weight, slopes.at(age)] as const));
}
