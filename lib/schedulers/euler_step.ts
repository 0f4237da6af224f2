import type * as tf from '@tensorflow/tfjs';
import type { StepOptions, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

/**
 * Euler's method from one sigma to another, one of so many steps (arXiv:2206.00364, algorithm 2), with its churn of noise: the step then
 * begins at a higher sigma, for which `predictOriginal` is asked.
 */
export function eulerStep(
  sample: tf.Tensor, { from, to, steps }: { from: number; to: number; steps: number },
  { sChurn = 0, sTmin = 0, sTmax = Infinity, sNoise = 1 }: StepOptions,
  drawNoise: () => tf.Tensor, predictOriginal: (sample: tf.Tensor, sigma: number) => tf.Tensor,
): StepOutput {
  const churns = sTmin <= from && from <= sTmax;
  const gamma = churns ? Math.min(sChurn / steps, Math.SQRT2 - 1) : 0;
  const sigma = from * (gamma + 1);
  const churned = gamma > 0 ? weightedSum([1, sample], [sNoise * Math.sqrt(sigma ** 2 - from ** 2), drawNoise()]) : sample;
  const predOriginalSample = predictOriginal(churned, sigma);
  const rest = to / sigma; // of the noise
  return { prevSample: weightedSum([rest, churned], [1 - rest, predOriginalSample]), predOriginalSample };
}
