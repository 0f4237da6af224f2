import type * as tf from '@tensorflow/tfjs';
import type { FloatDtype } from '../core/float16.js';
import type { Generator } from '../core/random.js';
import type { NoiseScheduleConfig } from './noise_schedule.js';

/** What a model predicts of a sample `alpha * original + sigma * noise`. */
export const predictionTypes = ['epsilon', 'sample', 'v_prediction'] as const;
export type PredictionType = typeof predictionTypes[number] | 'flow_prediction';

/** The keys of scheduler_config.json that every scheduler has. */
export interface SchedulerConfig extends NoiseScheduleConfig {
  prediction_type: PredictionType;
  /** Dynamic thresholding of the predicted original; for pixels, not for latents. */
  thresholding?: boolean;
  dynamic_thresholding_ratio?: number;
  sample_max_value?: number;
  /** Clipping of the predicted original to `clip_sample_range` on both sides. */
  clip_sample?: boolean;
  clip_sample_range?: number;
  /** `learned` and `learned_range`: the model predicts a variance too, in as many channels again. */
  variance_type?: string | null;
}

/** Everything that some scheduler's step takes; the others ignore it. */
export interface StepOptions {
  /** Where the noise of stochastic schedulers comes from: one for all samples, or one for each. */
  generator?: Generator | readonly Generator[];
  /** What the noise is drawn in, as torch draws it in the type of the model's output; float32 by default. */
  dtype?: FloatDtype;
  /** Noise to add instead of drawing it: DDIM, DPMSolverMultistep. */
  varianceNoise?: tf.Tensor;
  /** DDIM: from 0 (default, deterministic) to 1; TCD: 0.3 by default. */
  eta?: number;
  /** DDIM: derives the noise anew from the clipped original. */
  useClippedModelOutput?: boolean;
  /** Euler: how much noise to add before a step (arXiv:2206.00364), and between which sigmas. */
  sChurn?: number;
  sTmin?: number;
  sTmax?: number;
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
