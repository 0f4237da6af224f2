import * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../core/checks.js';
import { SigmaScheduler, type SigmaSchedulerConfig } from './sigma_scheduler.js';
import { respacingDefaults, type RespacingConfig } from './sigmas.js';
import type { StepOptions, StepOutput } from './types.js';
import { weightedQuotient, weightedSum, type Term } from './weighted_sum.js';

const HIGHEST_ORDER = 4;

/**
 * Linear multistep: the slopes of the last steps, interpolated by a polynomial in sigma and integrated over the next.
 * Equals LMSDiscreteScheduler of diffusers, for orders up to 4.
 */
export class LMSDiscreteScheduler extends SigmaScheduler<SigmaSchedulerConfig> {
  static override readonly className = 'LMSDiscreteScheduler';
  static override readonly defaults: SigmaSchedulerConfig = { ...SigmaScheduler.defaults, ...respacingDefaults };
  private readonly slopes = this.remember(HIGHEST_ORDER);

  /** Karras sigmas lie between the ends of the timesteps here, whatever the config says, as in diffusers. */
  protected override get respacing(): RespacingConfig {
    return this.settings.use_karras_sigmas ? this.settings : super.respacing;
  }

  protected override advance(
    modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, { order = HIGHEST_ORDER }: StepOptions,
  ): StepOutput {
    checkInteger(`${this.name} order`, order, 1, HIGHEST_ORDER);
    const index = this.indexAt(timestep);
    const sigma = this.sigmas[index];
    const predOriginalSample = this.predictOriginal(modelOutput, sample, sigma);
    this.slopes.push(weightedQuotient(sigma, [1, sample], [-1, predOriginalSample]));
    const newest = this.sigmas.slice(Math.max(index + 1 - order, 0), index + 1).reverse();
    const weights = lagrangeIntegrals(newest, sigma, this.sigmas[index + 1]);
    const terms = weights.slice(0, this.slopes.length).map((weight, age): Term => [weight, this.slopes.at(age)]);
    return { prevSample: weightedSum([1, sample], ...terms), predOriginalSample };
  }
}

/** The integrals, between two bounds, of the polynomials that are 1 at one of up to four points and 0 at the others. */
function lagrangeIntegrals(points: Float32Array, from: number, to: number): number[] {
  const half = (to - from) / 2;
  const nodes = [-1, 1].map(side => (from + to) / 2 + side * half / Math.sqrt(3)); // Gauss's two points are exact up to degree 3
  const factor = (x: number, i: number, k: number) => k === i ? 1 : (x - points[k]) / (points[i] - points[k]);
  const basis = (x: number, i: number) => points.reduce((product, _, k) => product * factor(x, i, k), 1);
  return Array.from(points, (_, i) => half * nodes.reduce((sum, node) => sum + basis(node, i), 0));
}
