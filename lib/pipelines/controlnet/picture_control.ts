import * as tf from '@tensorflow/tfjs';
import type { Model } from '../../models/model.js';
import { repeatEach } from '../inputs/encode_prompt.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import { checkImages, inTurn, wholeSide, type ImageInput } from '../inputs/image_input.js';
import { checkCounts, inputOfEach, numberOfEach, type Steering, type SteeringNetworks } from '../inputs/steering.js';

/** Pictures to steer by: one for all images or one for each prompt; for several ControlNets or modes a list with an entry for each. */
export type ControlImages = ImageInput | ImageInput[];

/** How strongly ControlNets steer, and when. */
export interface ControlStrength {
  /**
   * How strongly; for several ControlNets or modes one number for all, or a list. 1 by default; 0.8 for image to image, 0.5 for inpainting
   * with Stable Diffusion 1.x and 2.x.
   */
  controlnetConditioningScale?: number | number[];
  /** The share of the steps, from 0 to 1, after which they steer: 0 by default; for several ControlNets or modes one number or a list. */
  controlGuidanceStart?: number | number[];
  /** The share of the steps, from 0 to 1, until which they steer: 1 by default; for several ControlNets or modes one number or a list. */
  controlGuidanceEnd?: number | number[];
}

/** What sees the pictures. */
export interface Seeing extends SteeringNetworks {
  /** Whether there is one network, told of one picture without a list. */
  readonly isOne: boolean;
  /** How many channels the picture of each network has. */
  readonly channels: readonly number[];
  /** The VAE's. */
  readonly scaleFactor: number;
  /** The network that reads the pictures first, if one does. */
  readonly encoder?: Model<unknown>;
}

/** Pictures to steer by, and how strongly each does at which step: checked, and on the device while they steer. */
export abstract class PictureControl implements Steering {
  /** Of the picture that is made, unless something else is said: the first one's, rounded down to what the VAE takes. */
  readonly height: number;
  readonly width: number;
  protected readonly inputs: readonly ImageInput[];
  private readonly counts: readonly number[];
  private readonly scales: readonly number[];
  private readonly starts: readonly number[];
  private readonly ends: readonly number[];
  private pictures: tf.Tensor[] = [];

  /** @param name that of `images` among the options. @throws TypeError, RangeError naming the option that does not fit. */
  protected constructor(
    protected readonly name: string, images: ControlImages, protected readonly seeing: Seeing,
    { controlnetConditioningScale, controlGuidanceStart, controlGuidanceEnd }: ControlStrength,
  ) {
    this.inputs = inputOfEach(name, images, seeing.isOne, seeing);
    const sizes = seeing.channels.map((channels, i) => checkImages(name, this.inputs[i], [channels]));
    this.counts = sizes.map(({ count }) => count);
    [this.height, this.width] = [sizes[0].height, sizes[0].width].map(side => wholeSide(side, seeing.scaleFactor));
    this.scales = numberOfEach('controlnetConditioningScale', controlnetConditioningScale ?? 1, seeing);
    this.starts = numberOfEach('controlGuidanceStart', controlGuidanceStart ?? 0, seeing, 0, 1);
    this.ends = numberOfEach('controlGuidanceEnd', controlGuidanceEnd ?? 1, seeing, 0, 1);
    this.starts.forEach((start, i) => {
      const end = this.ends[i];
      if (start >= end) throw new RangeError(`controlGuidanceStart: got ${start}, takes less than controlGuidanceEnd, ${end}`);
    });
  }

  check(request: GenerateRequest): void {
    checkCounts(this.name, this.counts, request);
  }

  /** Pictures as the networks see them, one for all images or one for each prompt. In a tidy. */
  protected abstract see(input: ImageInput, height: number, width: number): tf.Tensor;

  begin(
    { latentShape: [images, rows, columns], numImagesPerPrompt }: GenerateRequest,
    makeReady: (...networks: Array<Model<unknown>>) => void,
  ): void {
    const { scaleFactor, encoder } = this.seeing;
    if (encoder) makeReady(encoder);
    this.pictures = this.inputs.map(input => tf.tidy(() => {
      const seen = this.see(input, rows * scaleFactor, columns * scaleFactor);
      return seen.shape[0] === 1 ? inTurn(seen, images) : repeatEach(seen, numImagesPerPrompt);
    }));
  }

  /** How strongly each picture steers at a step of so many. */
  protected scalesAt(index: number, steps: number): number[] {
    return this.scales.map((scale, i) => index / steps < this.starts[i] || (index + 1) / steps > this.ends[i] ? 0 : scale);
  }

  /** What each network sees, so many times for each image. In a tidy. */
  protected picturesFor(times: number): tf.Tensor[] {
    return this.pictures.map(picture => tf.concat(Array<tf.Tensor>(times).fill(picture)));
  }

  /** Takes the pictures off the device. */
  end(): void {
    tf.dispose(this.pictures);
    this.pictures = [];
  }
}
