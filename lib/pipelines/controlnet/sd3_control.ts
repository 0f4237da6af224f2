import * as tf from '@tensorflow/tfjs';
import { checkTensor } from '../../core/check_tensor.js';
import { normalizeLatents, retrieveLatents, type Autoencoder } from '../../models/autoencoder.js';
import type { SD3ControlNetConfig } from '../../models/sd3_config.js';
import { SD3ControlNetModel } from '../../models/sd3_controlnet.js';
import type { SD3ControlNets } from '../../models/sd3_multi_controlnet.js';
import type { SD3Conditions } from '../../models/sd3_path.js';
import type { SD3Additions, SD3Transformer2DModel } from '../../models/sd3_transformer_2d_model.js';
import { repeatEach } from '../inputs/encode_prompt.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import { checkImages, resizeNearest, toMask, toPixels, type ImageInput } from '../inputs/image_input.js';
import { checkCounts, type SD3Steering, type SteeringInput } from '../inputs/steering.js';
import { PictureControl, type ControlImages, type ControlStrength } from './picture_control.js';

/** How ControlNets of Stable Diffusion 3 steer. */
export interface SD3ControlOptions extends ControlStrength {
  /** What to steer by, such as edges, depths or poses, scaled to `height` and `width`. */
  controlImage: ControlImages;
  /**
   * The vector for each prompt that the ControlNets are told, `[prompts, pooled_projection_dim]`, used for negative prompts too; by default
   * the one that the transformer is told. A ControlNet whose config says `force_zeros_for_pooled_projection` does not take it.
   */
  controlnetPooledProjections?: tf.Tensor;
}

/** The same for a ControlNet that sees a picture without the part to make anew. */
export interface SD3MaskedControlOptions extends SD3ControlOptions {
  /** The picture that is to be made anew in part, scaled to `height` and `width`; for several ControlNets a list, one for each. */
  controlImage: ControlImages;
  /** White where to make it anew, black where it stays; pictures, or a tensor `[masks, height, width, 1]` within [0, 1]. */
  controlMask: ImageInput;
  /** As in SD3ControlOptions, but zeros by default, and every ControlNet takes it. */
  controlnetPooledProjections?: tf.Tensor;
}

/** The names of these options. */
export const SD3_CONTROL_OPTIONS: readonly string[] = Object.keys({
  controlImage: true, controlnetPooledProjections: true,
  controlnetConditioningScale: true, controlGuidanceStart: true, controlGuidanceEnd: true,
} satisfies Record<keyof SD3ControlOptions, true>);

/** A pipeline that ControlNets of Stable Diffusion 3 steer. */
interface Steered {
  readonly controlnet: SD3ControlNets;
  readonly transformer: SD3Transformer2DModel;
  readonly vae: Autoencoder;
  readonly vaeScaleFactor: number;
}

/** Pictures to steer a transformer by, checked against the ControlNets, which see their latents. */
export class SD3Control extends PictureControl implements SD3Steering {
  /** Of each ControlNet, as far as all have it in common. */
  private readonly config: SD3ControlNetConfig;
  /** What the ControlNets are told in the place of each text as a whole, if anything. */
  private readonly pooled?: tf.Tensor | 'zeros';
  private readonly maskCount?: number;

  /** @throws TypeError, RangeError naming the option that does not fit. */
  private constructor(
    private readonly pipe: Steered,
    { controlImage, controlnetPooledProjections: given, ...strength }: SD3ControlOptions,
    private readonly masked?: Pick<SD3MaskedControlOptions, 'controlMask'>,
  ) {
    const { controlnet, vae, vaeScaleFactor } = pipe;
    const isOne = controlnet instanceof SD3ControlNetModel;
    const nets = isOne ? [controlnet] : controlnet.nets;
    super('controlImage', controlImage, {
      count: nets.length, called: 'ControlNet', isOne, channels: nets.map(() => 3), scaleFactor: vaeScaleFactor, encoder: vae,
    }, strength);
    [{ config: this.config }] = nets;
    nets.forEach(net => checkFits(net, pipe, masked !== undefined));
    this.maskCount = masked && checkImages('controlMask', masked.controlMask, [1]).count;
    const isToldZeros = !masked && this.config.force_zeros_for_pooled_projection;
    if (given && isToldZeros) {
      throw new TypeError('controlnetPooledProjections: got a tensor, takes none with a ControlNet that is told zeros in its place ' +
        '(force_zeros_for_pooled_projection)');
    }
    this.pooled = given ?? (isToldZeros || masked ? 'zeros' : undefined);
  }

  /** Of options those that are not of ControlNets, and what these make. @throws as the constructor. */
  static from<O extends SD3ControlOptions>(
    pipe: Steered, options: O, masked?: Pick<SD3MaskedControlOptions, 'controlMask'>,
  ): [Omit<O, keyof SD3ControlOptions>, SD3Control] {
    const {
      controlImage, controlnetPooledProjections, controlnetConditioningScale, controlGuidanceStart, controlGuidanceEnd, ...others
    } = options;
    const strength = { controlnetConditioningScale, controlGuidanceStart, controlGuidanceEnd };
    return [others, new SD3Control(pipe, { controlImage, controlnetPooledProjections, ...strength }, masked)];
  }

  override check(request: GenerateRequest): void {
    super.check(request);
    const { maskCount, pooled, config: { pooled_projection_dim: features } } = this;
    if (maskCount !== undefined) checkCounts('controlMask', [maskCount], request);
    const prompts = request.latentShape[0] / request.numImagesPerPrompt;
    if (pooled instanceof tf.Tensor) checkTensor('controlnetPooledProjections', pooled, [prompts, features]);
  }

  /** The most likely latents: diffusers draws them, but from what no generator of the call decides. */
  protected override see(input: ImageInput, height: number, width: number): tf.Tensor {
    const { pipe: { vae, vaeScaleFactor: factor }, masked, config } = this;
    const encode = (pixels: tf.Tensor) => retrieveLatents(vae.encode(pixels), null);
    const pixels = toPixels(input, height, width);
    if (!masked) {
      const latents = encode(pixels);
      return config.force_zeros_for_pooled_projection ? tf.mul(latents, vae.config.scaling_factor) : normalizeLatents(vae, latents);
    }
    const changed = toMask(masked.controlMask, height, width);
    const kept = tf.sub(1, changed);
    const latents = normalizeLatents(vae, encode(tf.sub(tf.mul(pixels, kept), changed))); // black where it is made anew
    const seen = resizeNearest(kept, height / factor, width / factor);
    return tf.concat([latents, seen.shape[0] === latents.shape[0] ? seen : tf.tile(seen, [latents.shape[0], 1, 1, 1])], -1);
  }

  add(input: SteeringInput<SD3Conditions>): SD3Additions {
    const { sample, timestep, index, wholeSteps, conditions: { encoderHiddenStates, pooledProjections }, guidance: { times } } = input;
    const scales = this.scalesAt(index, wholeSteps);
    if (scales.every(scale => scale === 0)) return {};
    const { pipe: { controlnet, transformer }, config } = this;
    const told = {
      encoderHiddenStates: config.joint_attention_dim === null ? undefined : encoderHiddenStates,
      pooledProjections: this.poolFor(times, pooledProjections),
    };
    const seen = config.use_pos_embed ? sample : transformer.embedPatches(sample);
    const pictures = this.picturesFor(times);
    return controlnet instanceof SD3ControlNetModel
      ? controlnet.forward(seen, timestep, { ...told, controlnetCond: pictures[0], conditioningScale: scales[0] })
      : controlnet.forward(seen, timestep, { ...told, controlnetCond: pictures, conditioningScale: scales }) ?? {};
  }

  /** Each text as a whole, so many times for each image. @param usual what the transformer is told. */
  private poolFor(times: number, usual: tf.Tensor): tf.Tensor {
    const { pooled } = this;
    if (pooled === undefined) return usual;
    if (pooled === 'zeros') return tf.zerosLike(usual);
    const ofImages = repeatEach(pooled, usual.shape[0] / times / pooled.shape[0]);
    return tf.concat(Array<tf.Tensor>(times).fill(ofImages));
  }
}

/** @throws RangeError for a ControlNet of another model, or for another pipeline. */
function checkFits({ dim, config }: SD3ControlNetModel, { transformer, vae }: Steered, seesMask: boolean): void {
  const { extra_conditioning_channels: extra } = config;
  if (extra !== (seesMask ? 1 : 0)) {
    const other = seesMask ? 'StableDiffusion3ControlNetPipeline' : 'StableDiffusion3ControlNetInpaintingPipeline';
    const hint = extra > 1 ? '' : `; this one is for ${other}`;
    throw new RangeError(`controlnet: extra_conditioning_channels: got ${extra}, takes ${seesMask ? 1 : 0}${hint}`);
  }
  if (dim !== transformer.dim) {
    throw new RangeError(`controlnet: has ${dim} features of each patch, the transformer has ${transformer.dim}`);
  }
  const { patch_size, pooled_projection_dim, joint_attention_dim } = transformer.config;
  const wanted = { in_channels: vae.config.latent_channels, patch_size, pooled_projection_dim, joint_attention_dim };
  for (const [key, takes] of Object.entries(wanted)) {
    const got = config[key as keyof typeof wanted];
    if (got === takes || (key === 'joint_attention_dim' && got === null)) continue;
    throw new RangeError(`controlnet: ${key}: got ${got}, takes ${takes}, as the ${key === 'in_channels' ? 'VAE' : 'transformer'} has it`);
  }
}
