import * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../core/checks.js';

/** How to reuse the UNet's deep features, in the words of DeepCache's own helper. */
export interface DeepCacheOptions {
  /** All of the UNet runs at one timestep of this many; 3 by default. */
  cacheInterval?: number;
  /**
   * The skip connection through which the timesteps between still run, counted from the outside: with 0 (default) only the first and the
   * last layers run, with larger numbers more of them.
   */
  cacheBranchId?: number;
}

/** @throws RangeError for numbers that do not fit a UNet with so many skip connections. */
export function checkDeepCache(options: DeepCacheOptions, skipConnections: number): Required<DeepCacheOptions> {
  const { cacheInterval = 3, cacheBranchId = 0 } = options;
  return {
    cacheInterval: checkInteger('cacheInterval', cacheInterval, 1),
    cacheBranchId: checkInteger('cacheBranchId', cacheBranchId, 0, skipConnections - 1),
  };
}

/**
 * The UNet's deep features during one generation: they change little from a timestep to the next, so that they are computed anew only at
 * every few of them (arXiv:2312.00858). A full timestep gives exactly what the UNet gives without a cache.
 * Equals DeepCacheSDHelper of Python's DeepCache.
 */
export class DeepCache {
  readonly branchId: number;
  private readonly interval: number;
  private kept?: tf.Tensor;

  /** @param timesteps all of the generation; a timestep that some schedulers take twice counts where it comes first. */
  constructor(private readonly timesteps: readonly number[], { cacheInterval, cacheBranchId }: Required<DeepCacheOptions>) {
    this.interval = cacheInterval;
    this.branchId = cacheBranchId;
  }

  /**
   * The result of `compute` at a full timestep, and at other timesteps that of the last full one. Another batch needs its own. The cache
   * owns it.
   */
  features(timestep: number, batch: number, compute: () => tf.Tensor): tf.Tensor {
    if (this.timesteps.indexOf(timestep) % this.interval !== 0 && this.kept?.shape[0] === batch) return this.kept;
    this.dispose();
    return this.kept = tf.keep(compute());
  }

  dispose(): void {
    this.kept?.dispose();
    this.kept = undefined;
  }
}
