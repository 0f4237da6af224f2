import * as tf from '@tensorflow/tfjs';
import { checkInteger, show } from '../../core/checks.js';
import { ControlPath } from '../../models/control_path.js';
import { ControlNetModel } from '../../models/controlnet.js';
import { ControlNetUnionModel } from '../../models/controlnet_union.js';
import type { ControlNets } from '../../models/controlnets.js';
import { MultiControlNetUnionModel } from '../../models/multi_controlnet_union.js';
import type { UNetAdditions } from '../../models/unet_2d_condition_model.js';
import type { UNetConditions } from '../../models/unet_down_path.js';
import { resizePixels, type ImageInput } from '../inputs/image_input.js';
import type { Crop } from '../inputs/inpainting.js';
import type { SteeringInput, UNetSteering } from '../inputs/steering.js';
import { PictureControl, type ControlImages, type ControlStrength } from './picture_control.js';

/** How ControlNets steer. */
export interface ControlOptions extends ControlStrength {
  /**
   * The kind of picture, as a number of the ControlNetUnionModel, which needs it; other ControlNets do not take it. A list for several
   * pictures that steer together, or for several ControlNets. xinsir's has 0 for openpose, 1 for depth, 2 for hed, pidi, scribble and ted,
   * 3 for canny, lineart and mlsd, 4 for normals, 5 for segments; ProMax also 6 for tile and 7 for repaint.
   */
  controlMode?: number | number[];
  /** Whether ControlNets steer so strongly by what the picture shows that no prompt is needed; a guidanceScale of 3 to 5 suits it. */
  guessMode?: boolean;
}

/** The names of these options. */
export const CONTROL_OPTIONS = Object.keys({
  controlMode: true, controlnetConditioningScale: true, guessMode: true, controlGuidanceStart: true, controlGuidanceEnd: true,
} satisfies Record<keyof ControlOptions, true>);

/** A pipeline that something steers. */
interface Steered {
  readonly controlnet: ControlNets;
  readonly vaeScaleFactor: number;
}

/** The modes of the pictures, one for each, where a ControlNet has modes. @throws TypeError, RangeError for modes that it has not. */
function modesOf(controlnet: ControlNets, controlMode: number | number[] | undefined): number[] | undefined {
  const several = controlnet instanceof MultiControlNetUnionModel;
  if (!several && !(controlnet instanceof ControlNetUnionModel)) {
    if (controlMode === undefined) return undefined;
    throw new TypeError(`controlMode: got ${show(controlMode)}, takes a ControlNetUnionModel as controlnet`);
  }
  const modes = [controlMode ?? []].flat();
  const nets = several ? controlnet.nets : modes.map(() => controlnet);
  if (modes.length === 0 || modes.length !== nets.length) {
    const takes = several ? `a list of ${nets.length}, one for each ControlNet` : 'a number, or a list with one for each picture';
    throw new TypeError(`controlMode: got ${show(controlMode)}, takes ${takes}`);
  }
  return modes.map((mode, i) => checkInteger('controlMode', mode, 0, nets[i].config.num_control_type - 1));
}

/** Pictures to steer by, checked against the ControlNets. */
export class Control extends PictureControl implements UNetSteering {
  /** The network that sees each picture, and the mode that each is of, where there are modes. */
  private readonly nets: readonly ControlPath[];
  private readonly modes?: readonly number[];
  private readonly guessMode: boolean;

  /**
   * @param scaleFactor the VAE's. @param name that of `images` among the options.
   * @throws TypeError, RangeError naming the option that does not fit.
   */
  private constructor(
    private readonly controlnet: ControlNets, scaleFactor: number, name: string, images: ControlImages,
    private readonly options: ControlOptions,
  ) {
    const modes = modesOf(controlnet, options.controlMode);
    const isAlone = controlnet instanceof ControlPath;
    const nets: readonly ControlPath[] = isAlone ? Array<ControlPath>(modes?.length ?? 1).fill(controlnet) : controlnet.nets;
    super(name, images, {
      count: nets.length, called: isAlone && modes ? 'mode' : 'ControlNet', scaleFactor,
      isOne: isAlone && nets.length === 1 && !(Array.isArray(options.controlMode) && Array.isArray(images)),
      channels: nets.map(({ config }) => config.conditioning_channels),
    }, options);
    this.nets = nets;
    this.modes = modes;
    this.guessMode = (options.guessMode ?? false) || nets[0].config.global_pool_conditions;
  }

  /** Of options those that are not of ControlNets, and what these make. @throws as the constructor. */
  static from<O extends ControlOptions>(
    { controlnet, vaeScaleFactor }: Steered, name: string, images: ControlImages, options: O,
  ): [Omit<O, keyof ControlOptions>, Control] {
    const { controlMode, controlnetConditioningScale, guessMode, controlGuidanceStart, controlGuidanceEnd, ...others } = options;
    const own = { controlMode, controlnetConditioningScale, guessMode, controlGuidanceStart, controlGuidanceEnd };
    return [others, new Control(controlnet, vaeScaleFactor, name, images, own)];
  }

  /** The same for a part of the picture that is made. @throws as `crop` does. */
  cropped(crop: Crop): Control {
    const { name, inputs, seeing: { isOne, scaleFactor } } = this;
    const images = isOne ? crop(name, inputs[0]) : inputs.map(input => crop(name, input));
    return new Control(this.controlnet, scaleFactor, name, images, this.options);
  }

  protected override see(input: ImageInput, height: number, width: number): tf.Tensor {
    return resizePixels(input, height, width);
  }

  add(input: SteeringInput<UNetConditions>): UNetAdditions {
    const { sample, timestep, index, wholeSteps, conditions, guidance: { times, avoided } } = input;
    const scales = this.scalesAt(index, wholeSteps);
    if (scales.every(scale => scale === 0) && !this.scalesPictures) return {};
    const { guessMode } = this;
    const unsteered = guessMode ? avoided : 0; // what to avoid is not steered then
    const rows = unsteered * sample.shape[0] / times;
    const { in_channels: channels } = this.nets[0].config;
    const latents = sample.shape[3] === channels ? sample : tf.slice(sample, [0, 0, 0, 0], [-1, -1, -1, channels]); // a UNet may see more
    const told = { ...rows ? behind(conditions, rows) : conditions, guessMode };
    const seen = rows ? tf.slice(latents, rows) : latents;
    const pictures = this.picturesFor(times - unsteered);
    const added = this.controlnet instanceof ControlNetModel
      ? this.controlnet.forward(seen, timestep, { ...told, controlnetCond: pictures[0], conditioningScale: scales[0] })
      : this.controlnet.forward(seen, timestep, {
        ...told, controlnetCond: pictures, controlTypeIdx: this.modes ?? [], conditioningScale: scales,
      });
    if (!rows || !added) return { control: added };
    const afterNone = (state: tf.Tensor) => tf.pad(state, [[rows, 0], [0, 0], [0, 0], [0, 0]]);
    const { downBlockResSamples: down, midBlockResSample: mid } = added;
    return { control: { downBlockResSamples: down.map(afterNone), midBlockResSample: afterNone(mid) } };
  }

  /** Whether scales act on pictures, not on what comes of them: then a ControlNet adds something without any picture, as in diffusers. */
  private get scalesPictures(): boolean {
    return this.controlnet instanceof ControlNetUnionModel && this.nets.length > 1;
  }
}

/** Of what a UNet is told, that for the samples behind the first `count`. */
function behind({ encoderHiddenStates, addedCondKwargs, ...others }: UNetConditions, count: number): UNetConditions {
  return {
    ...others, encoderHiddenStates: tf.slice(encoderHiddenStates, count),
    addedCondKwargs: addedCondKwargs && {
      textEmbeds: tf.slice(addedCondKwargs.textEmbeds, count),
      timeIds: addedCondKwargs.timeIds.slice(count),
    },
  };
}
