import * as tf from '@tensorflow/tfjs';
import { checkNumber, show } from '../../core/checks.js';
import type { Model } from '../../models/model.js';
import { MultiAdapter, type Adapters } from '../../models/multi_adapter.js';
import { T2IAdapter } from '../../models/t2i_adapter.js';
import type { UNet2DConditionModel, UNetAdditions } from '../../models/unet_2d_condition_model.js';
import type { UNetConditions } from '../../models/unet_down_path.js';
import type { StateSize } from '../../models/unet_levels.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import { checkImages, inTurn, resizeGrey, resizePixels, wholeSide, type ImageInput } from '../inputs/image_input.js';
import { checkCounts, inputOfEach, numberOfEach, type SteeringInput, type UNetSteering } from '../inputs/steering.js';

/** How T2I-Adapters steer. */
export interface AdapterOptions {
  /**
   * What to steer by, such as a sketch, depths or a pose, scaled to `height` and `width`: one for all images or one for each prompt; for
   * several adapters a list with an entry for each. An adapter of one channel sees it in grey. With numImagesPerPrompt, the pictures of
   * several prompts are taken in turn for the images that are made, as in diffusers.
   */
  image: ImageInput | ImageInput[];
  /** How strongly: 1 by default; of several adapters one number for all, or a list. */
  adapterConditioningScale?: number | number[];
}

/** The names of these options. */
export const ADAPTER_OPTIONS = Object.keys({ image: true, adapterConditioningScale: true } satisfies Record<keyof AdapterOptions, true>);

/** When they steer, in pipelines of SDXL. */
export interface AdapterRange {
  /**
   * The share of the steps, from 0 to 1 (default), during which the adapters steer, from the first step on. A scheduler that takes more
   * timesteps than steps is steered during as many timesteps as that share is steps, as in diffusers.
   */
  adapterConditioningFactor?: number;
}

/** A pipeline that T2I-Adapters steer. */
interface Adapted {
  readonly adapter: Adapters;
  readonly unet: UNet2DConditionModel;
  readonly vaeScaleFactor: number;
}

/** @throws TypeError for what is none, with what to do. */
export function checkAdapter(adapter: unknown): void {
  if (adapter instanceof T2IAdapter || adapter instanceof MultiAdapter) return;
  const takes = Array.isArray(adapter) ? 'new MultiAdapter([...]) of several' : 'one by T2IAdapter.fromPretrained(...)';
  throw new TypeError(`adapter: got ${show(adapter)}, takes ${takes}`);
}

/** Pictures to steer by, checked against the adapters; and what those make of them, once for all steps. */
export class AdapterSteering implements UNetSteering {
  /** Of the picture that is made, unless something else is said: the first one's, rounded down to what the networks take. */
  readonly height: number;
  readonly width: number;
  private readonly adapters: readonly T2IAdapter[];
  private readonly inputs: readonly ImageInput[];
  private readonly counts: readonly number[];
  private readonly scales: readonly number[];
  private numInferenceSteps = 0;
  /** For each image, or one for all. */
  private states: readonly tf.Tensor[] = [];
  /** The same as often as guidance has them. */
  private guidedStates: readonly tf.Tensor[] = [];

  /** @throws TypeError, RangeError naming the option that does not fit. */
  constructor(
    private readonly pipe: Adapted, { image, adapterConditioningScale: scale = 1 }: AdapterOptions,
    private readonly range?: AdapterRange & { denoisingEnd?: number },
  ) {
    const { adapter, unet, vaeScaleFactor } = pipe;
    this.adapters = adapter instanceof T2IAdapter ? [adapter] : adapter.adapters;
    checkStates(this.adapters[0].states, unet.intrablockStates.map(({ channels, scale }) => ({ channels, scale: scale * vaeScaleFactor })));
    const networks = { count: this.adapters.length, called: 'adapter' };
    this.inputs = inputOfEach('image', image, adapter instanceof T2IAdapter, networks);
    const sizes = this.adapters.map(({ config }, i) => checkPictures(this.inputs[i], config.in_channels));
    this.counts = sizes.map(({ count }) => count);
    const unit = leastCommonMultiple(vaeScaleFactor, this.adapters[0].downscaleFactor);
    [this.height, this.width] = [sizes[0].height, sizes[0].width].map(side => wholeSide(side, unit));
    this.scales = numberOfEach('adapterConditioningScale', scale, networks);
    checkNumber('adapterConditioningFactor', range?.adapterConditioningFactor ?? 1, 0, 1);
  }

  /** @throws RangeError unless there is one picture for all images, or one for each prompt, and the adapters take the size. */
  check(request: GenerateRequest): void {
    const { adapters: [{ downscaleFactor }], pipe: { vaeScaleFactor } } = this;
    const [, rows, columns] = request.latentShape;
    checkCounts('image', this.counts, request);
    for (const [side, pixels] of Object.entries({ height: rows * vaeScaleFactor, width: columns * vaeScaleFactor })) {
      if (pixels % downscaleFactor === 0) continue;
      throw new RangeError(`${side}: got ${pixels}, takes a number of pixels divisible by ${downscaleFactor}, as the adapter does`);
    }
  }

  begin(request: GenerateRequest, makeReady: (...networks: Array<Model<unknown>>) => void): void {
    const { latentShape: [images, rows, columns], numInferenceSteps, guidance: { times } } = request;
    const { pipe: { adapter, vaeScaleFactor }, inputs, counts, scales } = this;
    this.numInferenceSteps = numInferenceSteps;
    if (this.range?.adapterConditioningFactor === 0 || scales.every(scale => scale === 0)) return;
    makeReady(adapter);
    const count = Math.max(...counts);
    const states = tf.tidy(() => {
      const pictures = this.adapters.map(({ config }, i) => {
        const resize = config.in_channels === 1 ? resizeGrey : resizePixels;
        return inTurn(resize(inputs[i], rows * vaeScaleFactor, columns * vaeScaleFactor), count);
      });
      const made = adapter instanceof T2IAdapter
        ? adapter.forward(pictures[0]).map(state => scales[0] === 1 ? state : tf.mul(state, scales[0]))
        : adapter.forward(pictures, scales);
      return count === 1 ? made : made.map(state => inTurn(state, images));
    });
    this.states = states;
    this.guidedStates = times > 1 && count > 1 ? states.map(state => tf.concat(Array<tf.Tensor>(times).fill(state))) : states;
  }

  add({ index, steps, guidance: { times } }: SteeringInput<UNetConditions>): UNetAdditions {
    const states = times > 1 ? this.guidedStates : this.states;
    if (states.length === 0 || index >= this.steered(steps)) return {};
    return { downIntrablockAdditionalResiduals: states };
  }

  /** How many of so many timesteps are steered. */
  private steered(timesteps: number): number {
    if (!this.range) return timesteps;
    const { adapterConditioningFactor = 1, denoisingEnd = 1 } = this.range;
    // Where a scheduler takes more timesteps than steps, diffusers counts the steps, unless it leaves out the last of them.
    return Math.floor(adapterConditioningFactor * (denoisingEnd < 1 ? timesteps : this.numInferenceSteps));
  }

  end(): void {
    tf.dispose([...this.states, ...this.guidedStates]);
    [this.states, this.guidedStates] = [[], []];
  }
}

/** @throws RangeError for an adapter of another UNet; a state behind those of its blocks is for its middle, or left out. */
function checkStates(given: readonly StateSize[], takes: readonly StateSize[]): void {
  const describe = (states: readonly StateSize[]) => states.map(({ channels, scale }) => `${channels} at 1/${scale}`);
  const [ours, theirs] = [describe(given.slice(0, takes.length)), describe(takes)];
  if (ours.every((state, i) => state === theirs[i])) return;
  throw new RangeError(`adapter: gives channels ${ours.join(', ')} of the picture's size, the unet takes ${theirs.join(', ')}: ` +
    'it is for another model');
}

function checkPictures(input: ImageInput, channels: number): ReturnType<typeof checkImages> {
  const size = checkImages('image', input, [channels]);
  if (channels === 1 || channels === 3 || (input as tf.Tensor).rank !== undefined) return size;
  throw new TypeError(`image: got ${show(input)}, takes a tensor [images, height, width, ${channels}]: ` +
    `the adapter has in_channels ${channels}`);
}

function leastCommonMultiple(a: number, b: number): number {
  let multiple = a;
  while (multiple % b !== 0) multiple += a;
  return multiple;
}
