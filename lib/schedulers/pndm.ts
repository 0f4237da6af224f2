import * as tf from '@tensorflow/tfjs';
import { adamsBashforth } from './adams_bashforth.js';
import { BetaScheduler } from './beta_scheduler.js';
import { roundHalfToEven, spacedTimesteps, type SpacingConfig } from './timesteps.js';
import type { BetaSchedulerConfig, StepOutput } from './types.js';
import { weightedSum } from './weighted_sum.js';

export interface PNDMConfig extends BetaSchedulerConfig, SpacingConfig {
  /** Whether to leave out the Runge-Kutta steps at the beginning, which call the model nine times more. */
  skip_prk_steps: boolean;
  /** Whether the last step ends without noise, or else with that of training step 0. */
  set_alpha_to_one: boolean;
}

const RUNGE_KUTTA_STEPS = 3;
const RUNGE_KUTTA_WEIGHTS = [1 / 6, 1 / 3, 1 / 3, 1 / 6];

/**
 * Pseudo numerical methods for diffusion models (arXiv:2202.09778): Runge-Kutta steps, then linear multistep.
 * Equals PNDMScheduler of diffusers.
 * @throws RangeError for fewer than 4 steps, unless the config skips the Runge-Kutta steps.
 */
export class PNDMScheduler extends BetaScheduler<PNDMConfig> {
  static override readonly className = 'PNDMScheduler';
  static override readonly defaults: PNDMConfig = {
    ...BetaScheduler.defaults, skip_prk_steps: false, set_alpha_to_one: false, timestep_spacing: 'leading', steps_offset: 0,
  };
  static override readonly choices = { ...BetaScheduler.choices, prediction_type: ['epsilon', 'v_prediction'] };

  /** Noise predictions, one per full step. */
  private readonly history = this.remember(4);
  /** The sample that a step of several model calls began from. */
  private readonly origin = this.remember(1);
  /** The weighted predictions of a Runge-Kutta step so far. */
  private readonly partial = this.remember(1);
  private counter = 0;
  /** How many of the timesteps are of Runge-Kutta steps. */
  private rungeKuttaCount = 0;

  private get stride(): number {
    return Math.floor(this.settings.num_train_timesteps / this.numInferenceSteps);
  }

  protected override plan(): void {
    const spaced = spacedTimesteps(this.settings, this.numInferenceSteps).map(roundHalfToEven);
    this.counter = 0;
    if (this.settings.skip_prk_steps) { // the second timestep twice: the first step is taken again with two predictions
      this.rungeKuttaCount = 0;
      this.timesteps = [spaced[0], ...spaced.slice(1, 2), ...spaced.slice(1)];
      return;
    }
    if (spaced.length <= RUNGE_KUTTA_STEPS) {
      throw new RangeError(`${this.name} numInferenceSteps: got ${spaced.length}, takes 4 or more; fewer with skip_prk_steps`);
    }
    const half = Math.floor(this.stride / 2);
    const rungeKutta = Array.from({ length: RUNGE_KUTTA_STEPS }, (_, i) => {
      const middle = spaced[i + 1] + half;
      return [spaced[i], middle, middle, spaced[i + 1]];
    }).flat();
    this.rungeKuttaCount = rungeKutta.length;
    this.timesteps = [...rungeKutta, ...spaced.slice(RUNGE_KUTTA_STEPS)];
  }

  protected override advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): StepOutput {
    const prevSample = this.counter < this.rungeKuttaCount
      ? this.rungeKuttaStep(modelOutput, timestep, sample)
      : this.multistep(modelOutput, timestep, sample);
    this.counter++;
    return { prevSample };
  }

  private rungeKuttaStep(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): tf.Tensor {
    const stage = this.counter % 4;
    const target = timestep - (stage % 2 ? 0 : Math.floor(this.stride / 2));
    if (stage === 0) {
      this.history.push(modelOutput);
      this.origin.push(sample);
      this.partial.clear();
    }
    const weighted = weightedSum(
      [RUNGE_KUTTA_WEIGHTS[stage], modelOutput], ...(stage > 0 ? [[1, this.partial.at(0)] as const] : []),
    );
    this.partial.push(weighted);
    return this.transfer(this.origin.at(0), this.timesteps[this.counter - stage], target, stage === 3 ? weighted : modelOutput);
  }

  private multistep(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor): tf.Tensor {
    if (this.counter === 1) { // only where the Runge-Kutta steps are skipped: the first step again
      const mean = weightedSum([0.5, modelOutput], [0.5, this.history.at(0)]);
      return this.transfer(this.origin.at(0), timestep + this.stride, timestep, mean);
    }
    this.history.push(modelOutput);
    if (this.counter === 0) this.origin.push(sample);
    const noise = adamsBashforth(this.history);
    return this.transfer(sample, timestep, timestep - this.stride, noise);
  }

  /** From one timestep to another, along the predicted noise (formula 9 of the paper). */
  private transfer(sample: tf.Tensor, from: number, to: number, modelOutput: tf.Tensor): tf.Tensor {
    const product = this.alphaProd(from);
    const target = to >= 0 ? this.alphaProd(to) : this.settings.set_alpha_to_one ? 1 : this.alphaProd(0);
    const noise = this.predictNoise(modelOutput, sample, Math.sqrt(product), Math.sqrt(1 - product));
    const divisor = product * Math.sqrt(1 - target) + Math.sqrt(product * (1 - product) * target);
    return weightedSum([Math.sqrt(target / product), sample], [-(target - product) / divisor, noise]);
  }
}
