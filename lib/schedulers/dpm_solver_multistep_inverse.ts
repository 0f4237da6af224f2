import { DPMSolverMultistepScheduler, type DPMSolverMultistepConfig } from './dpm_solver_multistep.js';
import { SolverScheduler } from './solver_scheduler.js';
import type { StepLists } from './steps.js';
import { roundHalfToEven, spacedTimesteps } from './timesteps.js';

export type DPMSolverMultistepInverseConfig = Omit<
  DPMSolverMultistepConfig,
  'use_lu_lambdas' | 'final_sigmas_type' | 'rescale_betas_zero_snr' | 'use_dynamic_shifting' | 'time_shift_type'
>;

/**
 * DPM-Solver and DPM-Solver++ backwards: from a clean sample, along rising timesteps, to the noise that they would make it of. (Flow sigmas
 * fall here too, as in diffusers.)
 * Equals DPMSolverMultistepInverseScheduler of diffusers, whose stochastic algorithms make no numbers backwards and are not taken.
 */
export class DPMSolverMultistepInverseScheduler extends DPMSolverMultistepScheduler {
  static override readonly className = 'DPMSolverMultistepInverseScheduler';
  static override readonly interchangeable = false;
  static override readonly adopts = true;
  static override readonly defaults: DPMSolverMultistepInverseConfig = {
    ...SolverScheduler.defaults, solver_order: 2, algorithm_type: 'dpmsolver++', solver_type: 'midpoint', euler_at_final: false,
    lambda_min_clipped: -Infinity, variance_type: null, timestep_spacing: 'linspace', steps_offset: 0,
  };
  static override readonly choices = { ...DPMSolverMultistepScheduler.choices, algorithm_type: ['dpmsolver', 'dpmsolver++'] };
  protected override readonly takes: StepLists = [];

  constructor(options: Partial<DPMSolverMultistepInverseConfig> = {}) {
    super(options);
    this.timesteps.reverse();
  }

  protected override get ends(): [first: number, last: number] {
    return [this.table[0], this.table[this.table.length - 1]];
  }

  protected override get tableEnd(): number {
    return this.table[this.clippedLength - 1];
  }

  protected override get roundsTimesteps(): boolean {
    return true;
  }

  protected override lastSigma(largest: number): number {
    return largest;
  }

  protected override adopt(timesteps: number[], sigmas: number[], last: number): void {
    super.adopt([...new Set(timesteps)], sigmas, last); // rounding may have made one of two
  }

  /** All points but the noisiest, from the cleanest. */
  protected override spaced(): number[] {
    const { spacing, numInferenceSteps: count, clippedLength: last } = this;
    const falling = spacing.timestep_spacing === 'trailing'
      ? spacedTimesteps(spacing, count, { last })
      : spacedTimesteps(spacing, count + 1, { last }).slice(1);
    return falling.map(roundHalfToEven).reverse();
  }
}
