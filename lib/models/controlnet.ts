import * as tf from '@tensorflow/tfjs';
import { checkShape } from '../core/checks.js';
import { Conv2d } from '../layers/conv2d.js';
import { ControlNetConditioningEmbedding } from '../layers/controlnet_conditioning_embedding.js';
import { completeControlNetConfig, type ControlNetConfig } from './controlnet_config.js';
import type { ControlNetOutput } from './controlnet_output.js';
import type { UNet2DConditionModel } from './unet_2d_condition_model.js';
import { UNetDownPath, type UNetConditions, type UNetInputs } from './unet_down_path.js';

/** What a ControlNet is told besides what a UNet is. */
export interface ControlConditions {
  /** The picture to steer by, within [0, 1]: `[batch, height, width, conditioning_channels]`, of the picture that is made. */
  controlnetCond: tf.Tensor;
  /** How strongly: 1 by default. */
  conditioningScale?: number;
  /** Whether outer states are steered less than inner ones, so that no prompt is needed. */
  guessMode?: boolean;
}

/** What `fromUnet` takes. */
export interface FromUnetOptions {
  conditioningChannels?: number;
  controlnetConditioningChannelOrder?: 'rgb' | 'bgr';
  conditioningEmbeddingOutChannels?: readonly number[];
  /** Whether its weights are the UNet's, where it has the same layers; true by default. */
  loadWeightsFromUnet?: boolean;
}

/** What begins as zeros, so that a new ControlNet changes nothing. */
const ZERO = /^(controlnet_down_blocks\.|controlnet_mid_block\.|controlnet_cond_embedding\.conv_out\.)/;

/**
 * Goes the UNet's way down beside it, with a picture to steer by on top of the latents, and gives what to add to the UNet's states.
 * - Weights below `controlnet_cond_embedding`, `controlnet_down_blocks.N`, `controlnet_mid_block`, and those of the way down.
 * Equals diffusers' ControlNetModel (arXiv:2302.05543).
 */
export class ControlNetModel extends UNetDownPath<ControlNetConfig> {
  static className = 'ControlNetModel';
  private readonly embedding: ControlNetConditioningEmbedding;
  private readonly downControls: readonly Conv2d[];
  private readonly midControl: Conv2d;

  constructor(config: Partial<ControlNetConfig> = {}) {
    super(completeControlNetConfig(config));
    const { levels, config: { block_out_channels: channels, conditioning_channels, conditioning_embedding_out_channels } } = this;
    const embedding = new ControlNetConditioningEmbedding(channels[0], conditioning_channels, conditioning_embedding_out_channels);
    this.embedding = this.add('controlnet_cond_embedding', embedding);
    const states = [channels[0], ...levels.flatMap(({ channels, layers }, i) =>
      Array<number>(layers + (i === levels.length - 1 ? 0 : 1)).fill(channels))]; // a halving gives one more
    this.downControls = this.addList('controlnet_down_blocks', states.length, i => new Conv2d(states[i], states[i], { kernelSize: 1 }));
    this.midControl = this.add('controlnet_mid_block', new Conv2d(channels.at(-1)!, channels.at(-1)!, { kernelSize: 1 }));
  }

  /** One for a UNet, that changes nothing yet: to be trained, or to load weights into. */
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

  /** How much smaller the states are than the picture. */
  get scaleFactor(): number {
    return 2 ** (this.config.conditioning_embedding_out_channels.length - 1);
  }

  /**
   * What to add to the states of a UNet that is told the same.
   * @param sample as the UNet's.
   * @param timestep as the UNet's.
   * @param conditions as the UNet's, and see ControlConditions.
   * @returns tensors that the caller disposes.
   */
  compute(
    sample: tf.Tensor, timestep: number | readonly number[], conditions: UNetConditions & ControlConditions,
  ): ControlNetOutput {
    const { controlnetCond, conditioningScale = 1, guessMode = false } = conditions;
    const { conditioning_channels, global_pool_conditions } = this.config;
    const [batch, height, width] = sample.shape;
    const factor = this.scaleFactor;
    checkShape('controlnet controlnetCond', controlnetCond.shape, [batch, factor * height!, factor * width!, conditioning_channels]);
    const inputs = { ...this.takeInputs(sample, timestep, conditions), picture: controlnetCond, scale: tf.scalar(conditioningScale) };
    const isGraded = guessMode && !global_pool_conditions;
    const states = this.graphOf(isGraded ? 'control graded' : 'control', inputs => this.control(inputs, isGraded), inputs);
    return { downBlockResSamples: states.slice(0, -1), midBlockResSample: states.at(-1)! };
  }

  /** What is added to each state, the middle's last. */
  private control({ picture, scale, ...inputs }: UNetInputs & { picture: tf.Tensor; scale: tf.Tensor }, isGraded: boolean): tf.Tensor[] {
    const { controlnet_conditioning_channel_order: order, global_pool_conditions } = this.config;
    const conditions = this.lead(inputs);
    const embedded = this.embedding.forward(order === 'bgr' ? tf.reverse(picture, -1) : picture);
    const states = this.goDown(tf.add(this.convIn.forward(inputs.sample), embedded), conditions);
    const middle = this.goThroughMiddle(states, conditions);
    const added = [...states.map((state, i) => this.downControls[i].forward(state)), this.midControl.forward(middle)];
    return added.map((state, i) => {
      const grade = isGraded ? 10 ** (i / (added.length - 1) - 1) : 1; // from 0.1 to 1
      const scaled = tf.mul(state, tf.mul(scale, grade));
      return global_pool_conditions ? tf.mean(scaled, [1, 2], true) : scaled;
    });
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
    void inputShape;
    throw new Error('controlnet: has no one output; it goes beside a UNet');
  }
}
