import type * as tf from '@tensorflow/tfjs';
import { eulerStep } from './euler_step.js';
import { SigmaScheduler, type SigmaSchedulerConfig } from './sigma_scheduler.js';
import { respacedSigmas, respacingDefaults, timestepAt } from './sigmas.js';
import { customList, type Steps } from './steps.js';
import { linspace } from './timesteps.js';
import type { StepOptions, StepOutput } from './types.js';

export interface EulerDiscreteConfig extends SigmaSchedulerConfig {
  /** Whether the last training step is brought to no signal at all (arXiv:2305.08891), for models that were trained so. */
  rescale_betas_zero_snr: boolean;
  /** How noise levels between training steps are found. */
  interpolation_type: 'linear' | 'log_linear';
  /** Whether the model takes training steps (`discrete`), or logarithms of noise levels (`continuous`). */
  timestep_type: 'discrete' | 'continuous';
  /** Whether the last step ends at no noise (`zero`) or at the least of training (`sigma_min`). */
  final_sigmas_type: 'zero' | 'sigma_min';
}

/**
 * Euler's method on the probability flow (arXiv:2206.00364, algorithm 2), with its churn of noise.
 * Takes lists of timesteps and of sigmas, those with the last sigma at the end.
 * Equals EulerDiscreteScheduler of diffusers.
 */
export class EulerDiscreteScheduler extends SigmaScheduler<EulerDiscreteConfig> {
  static override readonly className = 'EulerDiscreteScheduler';
  static override readonly defaults: EulerDiscreteConfig = {
    ...SigmaScheduler.defaults, ...respacingDefaults, interpolation_type: 'linear', sigma_min: null, sigma_max: null,
    timestep_type: 'discrete', rescale_betas_zero_snr: false, final_sigmas_type: 'zero',
  };
  static override readonly choices = {
    ...SigmaScheduler.choices, interpolation_type: ['linear', 'log_linear'], timestep_type: ['discrete', 'continuous'],
    final_sigmas_type: ['zero', 'sigma_min'],
  };
  static override readonly synonyms = { prediction_type: { original_sample: 'sample' } };
  protected override readonly takes = ['timesteps', 'sigmas'] as const;

  override countSteps(steps: Steps): number {
    const count = super.countSteps(steps);
    if (!customList(steps, 'sigmas')) return count;
    if (count < 2) throw new RangeError(`${this.name} sigmas: got ${count}, takes 2 or more, the last to end at`);
    return count - 1;
  }

  protected override plan(steps: Steps): void {
    const { settings, table } = this;
    const given = customList(steps, 'sigmas');
    if (given) {
      this.sigmas = Float32Array.from(given);
      this.timesteps = Array.from(this.sigmas.slice(0, -1), sigma => Math.fround(timestepAt(table, sigma)));
    } else {
      const { timesteps, sigmas } = settings.interpolation_type === 'linear' ? this.spaced(steps) : this.logSpaced(steps);
      const last = settings.final_sigmas_type === 'zero' ? 0 : table[0];
      this.sigmas = Float32Array.of(...sigmas, last);
      this.timesteps = timesteps.map(Math.fround);
    }
    if (settings.timestep_type === 'continuous' && settings.prediction_type === 'v_prediction') {
      this.timesteps = Array.from(this.sigmas.slice(0, -1), sigma => Math.fround(0.25 * Math.fround(Math.log(sigma))));
    }
  }

  protected override advance(
    modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions,
  ): StepOutput {
    const index = this.indexAt(timestep);
    const [from, to] = this.sigmas.slice(index);
    const isVelocity = this.settings.prediction_type === 'v_prediction'; // of the sigma before the churn, as diffusers has it
    return eulerStep(
      sample, { from, to, steps: this.sigmas.length - 1 }, options, () => this.drawNoise(sample, options),
      (churned, sigma) => this.predictOriginal(modelOutput, churned, isVelocity ? from : sigma),
    );
  }

  /** Even steps of the logarithm, one more than the timesteps, as diffusers has it. */
  private logSpaced(steps: Steps): { timesteps: number[]; sigmas: number[] } {
    const { table } = this;
    const count = this.numInferenceSteps;
    const sigmas = linspace(Math.log(table[table.length - 1]), Math.log(table[0]), count + 1).map(Math.exp);
    const respaced = respacedSigmas(this.respacing, sigmas[0], sigmas[count], count);
    return respaced
      ? { timesteps: respaced.map(sigma => timestepAt(table, sigma)), sigmas: respaced }
      : { timesteps: this.spaced(steps).timesteps, sigmas };
  }
}
