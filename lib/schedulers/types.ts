import type * as tf from '@tensorflow/tfjs';
import type { FloatDtype } from '../core/float16.js';
import type { Generator } from '../core/random.js';
import type { ClippingConfig, ThresholdingConfig } from './limits.js';
import type { NoiseScheduleConfig } from './noise_schedule.js';

/** What a model predicts of a sample `alpha * original + sigma * noise`. */
export const predictionTypes = ['epsilon', 'sample', 'v_prediction'] as const;
/** What a model predicts: one of these, or the flow, which flow-matching models predict. */
export type PredictionType = typeof predictionTypes[number] | 'flow_prediction';

/** What a scheduler class says of its config: all keys with their defaults, accepted values, and values of relatives that mean the same. */
export interface SchedulerRules {
  /** As configs name it. */
  readonly className: string;
  /** Whether it is one of those that take each other's configs. */
  readonly interchangeable: boolean;
  /** Whether it takes the configs of those, though they do not take it for one of them. */
  readonly adopts: boolean;
  readonly defaults: object;
  readonly choices: Readonly<Record<string, readonly unknown[]>>;
  readonly synonyms: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** The keys of scheduler_config.json of schedulers for models that were trained with betas. */
export interface BetaSchedulerConfig extends NoiseScheduleConfig {
  /** What the model predicts: the noise (`epsilon`), the clean `sample`, or the velocity (`v_prediction`). */
  prediction_type: PredictionType;
  /** `learned` and `learned_range`: the model predicts a variance too, in as many channels again. */
  variance_type?: string | null;
}

/** The keys of scheduler_config.json that mean the same wherever they are; each class says which it has besides `num_train_timesteps`. */
export interface SchedulerConfig extends Partial<BetaSchedulerConfig & ThresholdingConfig & ClippingConfig> {
  /** Steps that the model was trained with. */
  num_train_timesteps: number;
}

/** Everything that some scheduler's step takes; the others ignore it. */
export interface StepOptions {
  /** Where the noise of stochastic schedulers comes from: one for all samples, or one for each. */
  generator?: Generator | readonly Generator[];
  /** What the noise is drawn in, as torch draws it in the type of the model's output; float32 by default. */
  dtype?: FloatDtype;
  /** Noise to add instead of drawing it: DDIM, DPMSolverMultistep. */
  varianceNoise?: tf.Tensor;
  /** DDIM: how much noise each step adds, from 0 (default) to 1. TCD: how much randomness each step has, from 0 to 1; 0.3 by default. */
  eta?: number;
  /** DDIM: derives the noise anew from the clipped original. */
  useClippedModelOutput?: boolean;
  /** Euler: how much noise to add before a step (arXiv:2206.00364); 0 by default. */
  sChurn?: number;
  /** Euler: the least sigma at which noise is added; 0 by default. */
  sTmin?: number;
  /** Euler: the largest sigma at which noise is added; infinite by default. */
  sTmax?: number;
  /** Euler: what that noise is multiplied by; 1 by default. */
  sNoise?: number;
  /** LMS: how many derivatives to combine, 4 by default. */
  order?: number;
}

/** A type, not an interface: so `tf.tidy` can return it. */
export type StepOutput = {
  /** The sample at the next timestep. */
  prevSample: tf.Tensor;
  /** The noiseless sample as predicted now, from schedulers that compute it. */
  predOriginalSample?: tf.Tensor;
};
