import * as tf from '@tensorflow/tfjs';
import { checkShape } from '../core/checks.js';
import { Conv2d } from '../layers/conv2d.js';
import { ControlNetConditioningEmbedding } from '../layers/controlnet_conditioning_embedding.js';
import type { ControlNetConfig } from './controlnet_config.js';
import type { ControlNetOutput } from './controlnet_output.js';
import type { BlockConditions } from './unet_2d_blocks.js';
import { UNetDownPath } from './unet_down_path.js';

/**
 * A UNet's way down beside the UNet, that gives what to add to its states: all of a ControlNet but for how pictures come in.
 * - Weights below `controlnet_cond_embedding`, `controlnet_down_blocks.N`, `controlnet_mid_block`, and those of the way down.
 */
export abstract class ControlPath<Config extends ControlNetConfig = ControlNetConfig> extends UNetDownPath<Config> {
  /** Of pictures: `[batch, height, width, conditioning_channels]` to states of the size of the sample. */
  protected readonly embedding: ControlNetConditioningEmbedding;
  private readonly downControls: readonly Conv2d[];
  private readonly midControl: Conv2d;

  constructor(config: Config) {
    super(config);
    const { levels } = this;
    const { block_out_channels: channels, conditioning_channels, conditioning_embedding_out_channels } = config;
    const embedding = new ControlNetConditioningEmbedding(channels[0], conditioning_channels, conditioning_embedding_out_channels);
    this.embedding = this.add('controlnet_cond_embedding', embedding);
    const states = [channels[0], ...levels.flatMap(({ channels, layers }, i) =>
      Array<number>(layers + (i === levels.length - 1 ? 0 : 1)).fill(channels))]; // a halving gives one more
    this.downControls = this.addList('controlnet_down_blocks', states.length, i => new Conv2d(states[i], states[i], { kernelSize: 1 }));
    this.midControl = this.add('controlnet_mid_block', new Conv2d(channels.at(-1)!, channels.at(-1)!, { kernelSize: 1 }));
  }

  /** How much smaller the states are than the picture. */
  get scaleFactor(): number {
    return 2 ** (this.config.conditioning_embedding_out_channels.length - 1);
  }

  /** @throws RangeError for a picture that is not as large as what is made of the sample. */
  protected checkPicture(picture: tf.Tensor, { shape: [batch, height, width] }: tf.Tensor): void {
    const factor = this.scaleFactor;
    const { conditioning_channels } = this.config;
    checkShape('controlnet controlnetCond', picture.shape, [batch, factor * height!, factor * width!, conditioning_channels]);
  }

  /**
   * What `control` gives of the inputs, as a graph if compiled.
   * @param guessMode whether outer states are steered less than inner ones.
   */
  protected steer<I extends tf.TensorContainer>(
    name: string, control: (inputs: I, isGraded: boolean) => tf.Tensor[], inputs: I, guessMode: boolean,
  ): ControlNetOutput {
    const isGraded = guessMode && !this.config.global_pool_conditions;
    const states = this.graphOf(isGraded ? `${name} graded` : name, inputs => control(inputs, isGraded), inputs);
    return { downBlockResSamples: states.slice(0, -1), midBlockResSample: states.at(-1)! };
  }

  /** What is added to each state, the middle's last, from the first state on. */
  protected controlFrom(first: tf.Tensor, conditions: BlockConditions, scale: tf.Tensor, isGraded: boolean): tf.Tensor[] {
    const states = this.goDown(first, conditions);
    const middle = this.goThroughMiddle(states, conditions);
    const added = [...states.map((state, i) => this.downControls[i].forward(state)), this.midControl.forward(middle)];
    return added.map((state, i) => {
      const grade = isGraded ? 10 ** (i / (added.length - 1) - 1) : 1; // from 0.1 to 1
      const scaled = tf.mul(state, tf.mul(scale, grade));
      return this.config.global_pool_conditions ? tf.mean(scaled, [1, 2], true) : scaled;
    });
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
    void inputShape;
    throw new Error('controlnet: has no one output; it goes beside a UNet');
  }
}
