import * as tf from '@tensorflow/tfjs';
import { ControlPath } from './control_path.js';
import { completeControlNetConfig, type ControlNetConfig } from './controlnet_config.js';
import type { ControlNetOutput } from './controlnet_output.js';
import type { UNet2DConditionModel } from './unet_2d_condition_model.js';
import type { UNetConditions, UNetInputs } from './unet_down_path.js';

/** The inputs of a ControlNet besides those of a UNet. */
export interface ControlConditions {
  /**
   * The picture to steer by, within [0, 1]: `[batch, height, width, conditioning_channels]`, with the size in pixels of the picture that is
   * made.
   */
  controlnetCond: tf.Tensor;
  /** How strongly: 1 by default. */
  conditioningScale?: number;
  /** Whether outer states are steered less than inner ones, so that no prompt is needed. */
  guessMode?: boolean;
}

/** What `fromUnet` takes. */
export interface FromUnetOptions {
  /** Channels of the picture to steer by; 3 by default. */
  conditioningChannels?: number;
  /** The order of these channels; 'rgb' by default. */
  controlnetConditioningChannelOrder?: 'rgb' | 'bgr';
  /** Channels of the convolutions that read the picture, from the outermost on; `[16, 32, 96, 256]` by default. */
  conditioningEmbeddingOutChannels?: readonly number[];
  /** Whether its weights are the UNet's, where it has the same layers; true by default. */
  loadWeightsFromUnet?: boolean;
}

/** What begins as zeros, so that a new ControlNet changes nothing. */
const ZERO = /^(controlnet_down_blocks\.|controlnet_mid_block\.|controlnet_cond_embedding\.conv_out\.)/;

/**
 * Repeats the UNet's way down with a picture to steer by added to the latents, and gives tensors to add to the UNet's states.
 * - Weights below `controlnet_cond_embedding`, `controlnet_down_blocks.N`, `controlnet_mid_block`, and those of the way down.
 * Equals diffusers' ControlNetModel (arXiv:2302.05543).
 */
export class ControlNetModel extends ControlPath {
  static className = 'ControlNetModel';

  constructor(config: Partial<ControlNetConfig> = {}) {
    super(completeControlNetConfig(config));
  }

  /** Makes a ControlNet for a UNet that changes nothing yet: to be trained, or to load weights into. */
  static fromUnet(unet: UNet2DConditionModel, options: FromUnetOptions = {}): ControlNetModel {
    const { conditioningEmbeddingOutChannels: embedding, loadWeightsFromUnet = true } = options;
    const own = {
      conditioning_channels: options.conditioningChannels,
      controlnet_conditioning_channel_order: options.controlnetConditioningChannelOrder,
      conditioning_embedding_out_channels: embedding && [...embedding],
    };
    const controlnet = new ControlNetModel({ ...unet.config, ...own });
    const weights = loadWeightsFromUnet ? unet.stateDict() : {};
    for (const [path, { shape }] of controlnet.parameterSpecs()) {
      if (ZERO.test(path)) controlnet.setParameter(path, tf.zeros(shape as number[]));
      else if (path in weights) controlnet.setParameter(path, weights[path].clone());
    }
    return controlnet;
  }

  /**
   * The tensors to add to the states of a UNet that gets the same inputs.
   * @param sample as the UNet's.
   * @param timestep as the UNet's.
   * @param conditions as the UNet's, and see ControlConditions.
   * @returns tensors that the caller disposes.
   */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[], conditions: UNetConditions & ControlConditions,
  ): ControlNetOutput {
    const { controlnetCond, conditioningScale = 1, guessMode = false } = conditions;
    this.checkPicture(controlnetCond, sample);
    const inputs = { ...this.takeInputs(sample, timestep, conditions), picture: controlnetCond, scale: tf.scalar(conditioningScale) };
    return this.steer('control', (inputs, isGraded) => this.control(inputs, isGraded), inputs, guessMode);
  }

  /** What is added to each state, the middle's last. */
  private control({ picture, scale, ...inputs }: UNetInputs & { picture: tf.Tensor; scale: tf.Tensor }, isGraded: boolean): tf.Tensor[] {
    const isBgr = this.config.controlnet_conditioning_channel_order === 'bgr';
    const embedded = this.embedding.forward(isBgr ? tf.reverse(picture, -1) : picture);
    return this.controlFrom(tf.add(this.convIn.forward(inputs.sample), embedded), this.lead(inputs), scale, isGraded);
  }
}
