import * as tf from '@tensorflow/tfjs';
import { markMoment } from '../../core/profile.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { StepOptions } from '../../schedulers/types.js';
import { startProgressBar, type ProgressBarConfig } from './progress_bar.js';

/** The steps to take. */
export interface DenoisingSteps {
  timesteps: readonly number[];
  /**
   * Number of steps including those that `denoisingEnd` leaves to another model. Shares such as `controlGuidanceEnd` are of this number.
   */
  wholeSteps?: number;
  /** The timestep whose noise the latents have at the start, if it is none of `timesteps`, which may be empty. */
  firstTimestep?: number;
}

/** What a model predicts for latents, scaled by the scheduler, at a timestep; `index` is its place among those of the run. */
export type Predict = (input: tf.Tensor, timestep: number, index: number) => tf.Tensor;

/** Where denoising begins, and what conditions it besides the text. */
export interface DenoisingStart extends DenoisingSteps {
  /** Noisy latents, as strong as the first timestep has them. */
  latents: tf.Tensor;
  /** Extra channels, concatenated after the latents'. */
  condition?: tf.Tensor;
  /** Turns the model's prediction into the one that the scheduler takes, for a model that was trained to predict something else. */
  precondition?: (predict: Predict) => Predict;
  /** Latents that stay where `mask` is 0, and the noise that they have until the end. */
  known?: { original: tf.Tensor; noise: tf.Tensor; mask: tf.Tensor };
}

/** A step that was taken. */
export interface DenoisingStep {
  readonly index: number;
  readonly timestep: number;
  /** What it made; the loop's. */
  readonly latents: tf.Tensor;
}

/** What the loop does not know by itself: the model, and who looks on. */
export interface DenoisingOptions {
  /** Its timesteps are set. */
  readonly scheduler: Scheduler;
  /** What the model says: guided, and in a tidy. */
  readonly predict: Predict;
  readonly stepOptions?: StepOptions;
  /** How many steps were asked for, where some schedulers take two for one. */
  readonly numInferenceSteps: number;
  /** Whether the result is what the last step predicts without noise, whatever noise it adds again. */
  readonly endsWithOriginal?: boolean;
  readonly progressBar?: ProgressBarConfig;
  /** Called before each step; false skips it and those that are left. */
  readonly beforeStep?: () => boolean;
  /** Called after each step; latents that it gives take the place of the step's. */
  readonly afterStep?: (step: DenoisingStep) => Promise<tf.Tensor | undefined>;
  /** Ends the loop within one step, with its reason. */
  readonly signal?: AbortSignal;
}

/**
 * The loop of every pipeline: takes `start` over, gives denoised latents. It reads no value back from the device.
 * @throws the signal's reason when aborted, and what a callback throws; nothing is left behind then.
 */
export async function denoise(start: DenoisingStart, options: DenoisingOptions): Promise<tf.Tensor> {
  const { scheduler, stepOptions, numInferenceSteps, endsWithOriginal = false } = options;
  const { progressBar = {}, beforeStep, afterStep, signal } = options;
  const { timesteps, condition, known } = start;
  const predict = start.precondition?.(options.predict) ?? options.predict;
  let { latents } = start;
  const replaceLatents = (next: tf.Tensor) => {
    if (next !== latents) latents.dispose();
    latents = next;
  };
  const total = Math.min(numInferenceSteps, Math.ceil(timesteps.length / scheduler.order)); // some schedulers take a step twice
  const bar = await startProgressBar(total, progressBar);
  try {
    for (const [index, timestep] of timesteps.entries()) {
      if (beforeStep?.() === false) break;
      replaceLatents(tf.tidy(() => {
        const scaled = scheduler.scaleModelInput(latents, timestep);
        const prediction = predict(condition ? tf.concat([scaled, condition], -1) : scaled, timestep, index);
        const { prevSample, predOriginalSample } = scheduler.step(prediction, timestep, latents, stepOptions);
        if (endsWithOriginal && predOriginalSample && index === timesteps.length - 1) return predOriginalSample;
        return known ? putBack(known, prevSample, scheduler, timesteps[index + 1]) : prevSample;
      }));
      markMoment(`step ${index + 1} done, timestep ${timestep}`);
      replaceLatents(await afterStep?.({ index, timestep, latents }) ?? latents);
      bar.update(Math.round((index + 1) * total / timesteps.length));
      await nextTask();
      signal?.throwIfAborted();
    }
    return latents;
  } catch (error) {
    latents.dispose();
    throw error;
  } finally {
    tf.dispose([condition ?? [], known ?? []]);
    bar.stop();
  }
}

/** `latents` under the mask, and around it what is known, as noisy as it is at `timestep`, or at the end without noise. */
function putBack(
  { original, noise, mask }: Required<DenoisingStart>['known'], latents: tf.Tensor, scheduler: Scheduler, timestep?: number,
): tf.Tensor {
  const around = timestep === undefined ? original : scheduler.addNoise(original, noise, timestep);
  return tf.add(around.mul(tf.sub(1, mask)), latents.mul(mask));
}

/** Lets timers, events and signals have their turn, in Node and in a page, without a timer's own wait: milliseconds in every step. */
function nextTask(): Promise<void> {
  return new Promise(resolve => {
    if (typeof setImmediate === 'function') {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
