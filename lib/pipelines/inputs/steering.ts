import type * as tf from '@tensorflow/tfjs';
import { checkNumber, show } from '../../core/checks.js';
import type { Model } from '../../models/model.js';
import type { SD3Conditions } from '../../models/sd3_path.js';
import type { SD3Additions } from '../../models/sd3_transformer_2d_model.js';
import type { UNetAdditions } from '../../models/unet_2d_condition_model.js';
import type { UNetConditions } from '../../models/unet_down_path.js';
import type { Guidance } from '../run/guidance.js';
import type { GenerateRequest } from './generate_options.js';
import type { ImageInput } from './image_input.js';

/** What the denoiser is about to be told at a step. */
export interface SteeringInput<Conditions> {
  readonly sample: tf.Tensor;
  readonly timestep: number;
  readonly index: number;
  /** How many steps there are, and were before `denoisingEnd` left some out. */
  readonly steps: number;
  readonly wholeSteps: number;
  readonly conditions: Conditions;
  /** How often each image is in the sample, and for what. */
  readonly guidance: Guidance;
}

/** What steers besides the texts, during one call of `generate`. */
export interface Steering {
  /** @throws TypeError, RangeError for a request that it does not fit. */
  check(request: GenerateRequest): void;
  /** Puts on the device what it holds until `end`. @param makeReady is told the networks that are about to run. */
  begin(request: GenerateRequest, makeReady: (...networks: Array<Model<unknown>>) => void): void;
  end(): void;
}

/** What steers a denoiser that is told `Conditions`, and takes `Additions` besides. */
interface SteeringOf<Conditions, Additions> extends Steering {
  /** What is added to the denoiser's states at a step. In a tidy. */
  add(input: SteeringInput<Conditions>): Additions;
}

export type UNetSteering = SteeringOf<UNetConditions, UNetAdditions>;
export type SD3Steering = SteeringOf<SD3Conditions, SD3Additions>;

/** The networks that steer: how many there are, and what one is called. */
export interface SteeringNetworks {
  readonly count: number;
  readonly called: string;
}

/** The pictures that each network steers by, of which there is a list where there are several networks. @throws TypeError for another. */
export function inputOfEach(
  name: string, images: ImageInput | ImageInput[], isOne: boolean, { count, called }: SteeringNetworks,
): ImageInput[] {
  if (isOne) return [images as ImageInput];
  if (Array.isArray(images) && images.length === count) return images;
  const got = Array.isArray(images) ? `a list of ${images.length}` : show(images);
  throw new TypeError(`${name}: got ${got}, takes a list of ${count}, one for each ${called}`);
}

/** One number for each network, checked. @throws RangeError for a list of another length, or a number beyond `min` and `max`. */
export function numberOfEach(
  option: string, value: number | number[], { count, called }: SteeringNetworks, min?: number, max?: number,
): number[] {
  const list = Array.isArray(value) ? value : Array<number>(count).fill(value);
  if (list.length !== count) {
    throw new RangeError(`${option}: got a list of ${list.length}, takes a number, or a list of ${count}, one for each ${called}`);
  }
  return list.map(one => checkNumber(option, one, min, max));
}

/** @throws RangeError unless there is, for each network, one picture for all images, or one for each prompt. */
export function checkCounts(
  name: string, counts: readonly number[], { latentShape: [images], numImagesPerPrompt }: GenerateRequest,
): void {
  const prompts = images / numImagesPerPrompt;
  const wrong = counts.find(count => count !== 1 && count !== prompts);
  if (wrong !== undefined) throw new RangeError(`${name}: got ${wrong} pictures, takes 1 or ${prompts}, one for each prompt`);
}
