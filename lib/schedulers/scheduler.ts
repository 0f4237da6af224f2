import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkShape, show } from '../core/checks.js';
import { timed } from '../core/profile.js';
import { randn } from '../core/random.js';
import { History } from './history.js';
import { limit } from './limits.js';
import { adoptConfig, completeConfig, relativesOf } from './scheduler_config.js';
import { respaces, type RespacingConfig } from './sigmas.js';
import { countSteps, customList, type StepLists, type Steps, type TimestepsOptions } from './steps.js';
import type { SchedulerConfig, SchedulerRules, StepOptions, StepOutput } from './types.js';

/** The static side of every scheduler class. */
export interface SchedulerClass<S extends Scheduler = Scheduler> extends SchedulerRules {
  new (options?: object): S;
  fromConfig(config: object, overrides?: object): S;
}

/**
 * A way to turn noise into a sample, step by step: `setTimesteps`, then for each of `timesteps` the model and `step`.
 *
 * Samples are `[batch, height, width, channels]`, float32. Callers dispose what `step`, `scaleModelInput` and `addNoise` return.
 * Some schedulers remember tensors from step to step; `setTimesteps` and `dispose` free them.
 * Constructors take any part of the config and default the rest.
 * Equals SchedulerMixin and ConfigMixin of diffusers.
 * @throws TypeError for an unknown option, RangeError for a value that is not accepted.
 */
export abstract class Scheduler<C extends SchedulerConfig = SchedulerConfig> {
  static readonly className: string;
  static readonly interchangeable: boolean = true;
  static readonly adopts: boolean = false;
  static readonly defaults: object = {};
  static readonly choices: SchedulerRules['choices'] = {};
  static readonly synonyms: SchedulerRules['synonyms'] = {};

  /** Model calls per step. */
  readonly order: number = 1;
  /** The timesteps at which to call the model, in falling order; before `setTimesteps` those of training. */
  timesteps: number[];
  /** Which lists `setTimesteps` takes besides a number. */
  protected readonly takes: StepLists = [];
  /** As asked for by setTimesteps; 0 before it and after dispose. */
  protected numInferenceSteps = 0;
  /** Where in `timesteps` the run is; null before the first step. */
  protected stepIndex: number | null = null;
  protected beginIndex: number | null = null;
  private readonly histories: History[] = [];
  private wholeConfig: Readonly<C>;

  constructor(options: Partial<C> = {}) {
    this.wholeConfig = Object.freeze(completeConfig(this.schedulerClass, options)) as unknown as Readonly<C>;
    const { num_train_timesteps: trained } = this.config;
    this.timesteps = Array.from({ length: trained }, (_, i) => trained - 1 - i);
  }

  /**
   * A scheduler with the config of another, or of a file. Keys that the other left at their defaults take this class's defaults;
   * keys that this class does not have are kept for the next fromConfig; `overrides` win over both.
   */
  static fromConfig<S extends Scheduler>(this: new (options?: never) => S, config: object, overrides: Partial<S['config']> = {}): S {
    const target = this as unknown as SchedulerClass<S>;
    const { options, rest } = adoptConfig(target, config, overrides);
    return new target(options).keeping(rest);
  }

  /** The whole config, with further keys of other schedulers' configs. `_use_default_values` names the keys that nobody set. */
  get config(): Readonly<C> {
    return this.wholeConfig;
  }

  /** The classes that can take this scheduler's config. */
  get compatibles(): SchedulerClass[] {
    return relativesOf(this.schedulerClass) as SchedulerClass[];
  }

  /** The factor for unit noise at the beginning of a run. */
  get initNoiseSigma(): number {
    return 1;
  }

  /** How many steps `setTimesteps` would make of its argument. @throws RangeError as it does. */
  countSteps(steps: Steps): number {
    if (customList(steps, 'timesteps') && respaces(this.respacing)) {
      throw new RangeError(`${this.name}: got a list of timesteps, takes none where the config spaces the sigmas`);
    }
    return countSteps(this.name, steps, this.takes, this.settings.num_train_timesteps);
  }

  /**
   * Begins a run with these steps.
   * @throws RangeError for a number below 1 or above num_train_timesteps, or a list that this scheduler does not take.
   */
  setTimesteps(steps: Steps, options: TimestepsOptions = {}): void {
    const count = this.countSteps(steps);
    this.dispose();
    [this.stepIndex, this.beginIndex] = [null, null];
    this.numInferenceSteps = count;
    this.plan(steps, options);
  }

  /** A scheduler of the same class and config, except for `changes`, for a run beside this scheduler's own. */
  clone(changes: object = {}): this {
    const entries = Object.entries({ ...this.config, ...changes });
    const isOwn = ([key]: [string, unknown]) => Object.hasOwn(this.schedulerClass.defaults, key);
    const copy = new this.schedulerClass(Object.fromEntries(entries.filter(isOwn))) as this;
    return copy.keeping(Object.fromEntries(entries.filter(entry => !isOwn(entry))));
  }

  /** Sets the index in `timesteps` at which a run begins that does not begin at the first, such as one from an image. */
  setBeginIndex(index: number): void {
    this.beginIndex = checkInteger(`${this.name} beginIndex`, index, 0, this.timesteps.length - 1);
  }

  /** `sample` scaled as the model's input at `timestep`. */
  scaleModelInput(sample: tf.Tensor, timestep: number): tf.Tensor;
  scaleModelInput(sample: tf.Tensor): tf.Tensor {
    return timed(this, () => sample.clone(), 'scaleModelInput');
  }

  /**
   * Goes on from `sample` at `timestep` to the next timestep, with the model's output for `scaleModelInput(sample, timestep)`.
   * @throws Error before setTimesteps, RangeError for a timestep or shape that does not fit.
   */
  step(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions = {}): StepOutput {
    this.checkStep(modelOutput, sample);
    const output = timed(this, () => tf.tidy(() => ({ ...this.advance(modelOutput, timestep, sample, options) })), 'step');
    if (this.stepIndex !== null) this.stepIndex++;
    return output;
  }

  /**
   * The noisy sample at `timestep`: one for all samples, or one for each.
   * @param noise of the shape of `original`.
   */
  abstract addNoise(original: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor;

  /** The velocity that a model with v_prediction should predict at `timestep` for a sample with this noise (arXiv:2202.00512). */
  abstract getVelocity(sample: tf.Tensor, noise: tf.Tensor, timestep: number | number[]): tf.Tensor;

  /** Frees the tensors that the scheduler keeps during a run. It can be used again after setTimesteps. */
  dispose(): void {
    this.histories.forEach(history => history.clear());
    this.numInferenceSteps = 0;
  }

  /** Sets `timesteps`, for the given steps. */
  protected abstract plan(steps: Steps, options: TimestepsOptions): void;

  /** One step, in a tidy; tensors are remembered by `History`. */
  protected abstract advance(modelOutput: tf.Tensor, timestep: number, sample: tf.Tensor, options: StepOptions): StepOutput;

  /** @throws Error before setTimesteps, RangeError for an output that does not fit the sample. */
  protected checkStep(modelOutput: tf.Tensor, sample: tf.Tensor): void {
    if (this.numInferenceSteps === 0) throw new Error(`${this.name}: has no timesteps yet, call setTimesteps before step`);
    const channels = sample.shape.at(-1)! * (this.learnsVariance ? 2 : 1);
    checkShape(`${this.name} modelOutput`, modelOutput.shape, [...sample.shape.slice(0, -1), channels]);
  }

  /** The part of the config that is this class's own, and acts. */
  protected get settings(): Readonly<C> {
    const { defaults } = this.schedulerClass;
    return Object.fromEntries(Object.entries(this.config).filter(([key]) => Object.hasOwn(defaults, key))) as unknown as Readonly<C>;
  }

  protected get name(): string {
    return this.schedulerClass.className;
  }

  protected get learnsVariance(): boolean {
    return this.settings.variance_type === 'learned' || this.settings.variance_type === 'learned_range';
  }

  /** The model's output without the variance that it may predict too. */
  protected meanOf(modelOutput: tf.Tensor): tf.Tensor {
    return this.learnsVariance ? tf.split(modelOutput, 2, -1)[0] : modelOutput;
  }

  /** How to space sigmas. Their ends count wherever they come from, as in diffusers. */
  protected get respacing(): RespacingConfig {
    const { sigma_min, sigma_max } = this.config as RespacingConfig;
    return { ...this.settings, sigma_min, sigma_max };
  }

  /** A history of up to `size` tensors. */
  protected remember(size: number): History {
    const history = new History(size);
    this.histories.push(history);
    return history;
  }

  /** Where the run is; the first time, where `timestep` says. */
  protected indexAt(timestep: number): number {
    this.stepIndex ??= this.beginIndex ?? this.indexOf(timestep);
    if (this.stepIndex >= this.timesteps.length) {
      throw new RangeError(`${this.name}: has taken all its ${this.timesteps.length} steps, call setTimesteps to begin anew`);
    }
    return this.stepIndex;
  }

  /** Where `timestep` is in the schedule; away from the beginning the second place of two, so that no sigma is skipped. */
  protected indexOf(timestep: number): number {
    const first = this.timesteps.indexOf(timestep);
    if (first < 0) throw new RangeError(`${this.name} timestep: got ${show(timestep)}, takes one of ${show(this.timesteps)}`);
    const second = this.timesteps.indexOf(timestep, first + 1);
    return first === 0 || second < 0 ? first : second;
  }

  /** Where addNoise takes the noise level from: of `timestep`, or of the run once it has a beginning. */
  protected noiseIndex(timestep: number): number {
    return this.beginIndex === null ? this.indexOf(timestep) : this.stepIndex ?? this.beginIndex;
  }

  /** `values` for each sample of `like`, as factors. */
  protected perSample(values: number[], like: tf.Tensor): number | tf.Tensor {
    const [batch] = like.shape;
    if (values.length !== 1 && values.length !== batch) {
      throw new RangeError(`${this.name} timestep: got a list of ${values.length}, takes one or a list of ${batch}, one per sample`);
    }
    return values.length === 1 ? values[0] : tf.tensor(values, [values.length, ...Array(like.rank - 1).fill(1)]);
  }

  /** Thresholds or clips a predicted original, if the config says so. */
  protected limit(original: tf.Tensor): tf.Tensor {
    return limit(original, this.settings);
  }

  /** Fresh noise for a sample. */
  protected drawNoise(sample: tf.Tensor, { generator, dtype }: StepOptions): tf.Tensor {
    return randn(sample.shape, generator, dtype);
  }

  /** Holds these in its config besides. */
  private keeping(rest: object): this {
    this.wholeConfig = Object.freeze({ ...this.config, ...rest });
    return this;
  }

  private get schedulerClass(): SchedulerClass {
    return this.constructor as unknown as SchedulerClass;
  }
}
