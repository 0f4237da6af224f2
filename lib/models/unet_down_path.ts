import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkShape, show } from '../core/checks.js';
import { type Activation, getBlockActivation } from '../layers/activations.js';
import { Conv2d, type Padding } from '../layers/conv2d.js';
import { Embedding } from '../layers/embedding.js';
import { GaussianFourierProjection } from '../layers/gaussian_fourier_projection.js';
import { Linear } from '../layers/linear.js';
import { getTimestepEmbedding, TimestepEmbedding } from '../layers/timestep_embedding.js';
import { KDownBlock2D, type KBlockConfig } from './k_blocks.js';
import { Model } from './model.js';
import { addResidual, DownBlock2D, MidBlock2D, type BlockConditions, type UNetBlockConfig } from './unet_2d_blocks.js';
import { blurs, type UNetDownConfig } from './unet_2d_condition_config.js';
import { downLevels, middleBlock, type StateSize, type UNetLevel } from './unet_levels.js';

/** The conditions of a prediction. */
export interface UNetConditions {
  /** The text: `[batch, tokens, features]`, with encoder_hid_dim features or, if that is null, cross_attention_dim. */
  encoderHiddenStates: tf.Tensor;
  /**
   * The class of each sample, where the config has class embeddings: numbers, or for `identity` and projections vectors `[batch or 1,
   * features]`.
   */
  classLabels?: readonly number[] | tf.Tensor;
  /** What is added to the timestep, where the config has a time_cond_proj_dim: `[batch or 1, time_cond_proj_dim]`. */
  timestepCond?: tf.Tensor;
  /** Further conditions, if the config has an addition_embed_type. */
  addedCondKwargs?: AddedConditions;
}

/** SDXL's conditions besides the tokens of the text and the timestep. Named as diffusers' `added_cond_kwargs`. */
export interface AddedConditions {
  /** One vector for each text: `[batch or 1, features]`. */
  textEmbeds: tf.Tensor;
  /**
   * Rows of numbers, one for all samples or one for each: for SDXL the original height and width, the crop's top and left, and the target
   * height and width.
   */
  timeIds: ReadonlyArray<readonly number[]>;
}

/** All that the network is given, as tensors: what a graph can take. */
export type UNetInputs = {
  sample: tf.Tensor;
  /** `[timesteps, block_out_channels[0]]`, or where their frequencies are weights the timesteps themselves, `[timesteps, 1]`. */
  sinusoid: tf.Tensor;
  text: tf.Tensor;
  timestepCond?: tf.Tensor;
  classes?: tf.Tensor;
  /** `[batch or 1, projection_class_embeddings_input_dim]` */
  added?: tf.Tensor;
};

/**
 * The way of noisy latents down to the middle, led by the time, the text and perhaps a class: the first half of a UNet, and of what goes
 * beside one.
 * - Weights below `conv_in`, `time_proj`, `time_embedding`, `encoder_hid_proj`, `class_embedding`, `add_embedding`, `down_blocks.N`,
 *   `mid_block`.
 */
export abstract class UNetDownPath<Config extends UNetDownConfig> extends Model<Config> {
  protected readonly activation: Activation;
  protected readonly convIn: Conv2d;
  /** From the outermost to the innermost. */
  protected readonly levels: readonly UNetLevel[];
  protected readonly downBlocks: ReadonlyArray<DownBlock2D | KDownBlock2D>;
  protected readonly midBlock?: MidBlock2D;
  private readonly timeProj?: GaussianFourierProjection;
  private readonly timeEmbedding: TimestepEmbedding;
  private readonly encoderHidProj?: Linear;
  private readonly classEmbedding?: Embedding | TimestepEmbedding | Linear;
  private readonly addEmbedding?: TimestepEmbedding;

  constructor(config: Config) {
    super(config);
    const { in_channels, block_out_channels: channels, conv_in_kernel, encoder_hid_dim, cross_attention_dim } = config;
    const { time_cond_proj_dim: conditionDim } = config;
    const [first] = channels;
    this.activation = getBlockActivation('unet config: act_fn', config.act_fn);
    this.convIn = this.add('conv_in', new Conv2d(in_channels, first, { kernelSize: conv_in_kernel }));
    const fourier = config.time_embedding_type === 'fourier';
    const timeFeatures = config.time_embedding_dim || (fourier ? 2 : 4) * first;
    if (fourier) this.timeProj = this.add('time_proj', new GaussianFourierProjection(timeFeatures / 2, config.flip_sin_to_cos));
    const { timestep_post_act: post } = config;
    this.timeEmbedding = this.add('time_embedding', new TimestepEmbedding(fourier ? timeFeatures : first, timeFeatures, {
      activation: this.activation, conditionDim,
      postActivation: post === null ? undefined : getBlockActivation('unet config: timestep_post_act', post),
    }));
    if (encoder_hid_dim !== null) {
      this.encoderHidProj = this.add('encoder_hid_proj', new Linear(encoder_hid_dim, cross_attention_dim as number));
    }
    const classEmbedding = this.makeClassEmbedding();
    if (classEmbedding) this.classEmbedding = this.add('class_embedding', classEmbedding);
    if (config.addition_embed_type !== null) {
      const { projection_class_embeddings_input_dim: features } = config;
      this.addEmbedding = this.add('add_embedding', new TimestepEmbedding(features!, this.timeEmbedding.outFeatures));
    }

    this.levels = downLevels(config);
    const pad = config.downsample_padding;
    const padding: Padding = pad === 0 ? [0, 1, 0, 1] : [pad, pad, pad, pad];
    this.downBlocks = this.levels.map(({ inChannels, channels: outChannels, layers, down }, i) => {
      const innermost = i === channels.length - 1;
      const shared = { inChannels, outChannels, layers };
      return this.add(`down_blocks.${i}`, down.sampling === 'blur'
        ? new KDownBlock2D({ ...this.blurring(), ...shared, attention: down.attention, innermost })
        : new DownBlock2D({
          ...this.resnets(down.sampling), ...shared, attention: down.attention,
          downsample: innermost ? undefined : down.sampling === 'resnet' ? 'resnet' : padding,
        }));
    });
    const middle = middleBlock(config);
    if (middle && middle.sampling !== 'blur') {
      this.midBlock = this.add('mid_block', new MidBlock2D({
        ...this.resnets('conv'), channels: channels.at(-1)!, attention: middle.attention, outputScaleFactor: config.mid_block_scale_factor,
        skipTimeAct: this.activatesTime || (config.mid_block_type?.includes('SimpleCrossAttn') && config.resnet_skip_time_act),
      }));
    }
  }

  /** Features of the text that it attends to. */
  get textFeatures(): number {
    return this.config.encoder_hid_dim ?? [this.config.cross_attention_dim].flat()[0];
  }

  /** The states that something may be added to within each block, against the sample. */
  get intrablockStates(): StateSize[] {
    const last = this.levels.length - 1;
    return this.levels.map(({ channels, down }, i) => ({ channels, scale: 2 ** (down.attention || i === last ? i : i + 1) }));
  }

  /** Whether it has to be told the class of each sample. */
  get takesClasses(): boolean {
    return this.config.class_embed_type !== null || this.config.num_class_embeds !== null;
  }

  /** Whether it has to be told `addedCondKwargs`. */
  get takesAdditions(): boolean {
    return this.addEmbedding !== undefined;
  }

  /** Whether it is told how strong guidance is, as it was distilled with it: then it has no use for what to avoid. */
  get takesGuidance(): boolean {
    return this.config.time_cond_proj_dim !== null;
  }

  /** What all resnets of a block are made from. */
  protected resnets(sampling: 'conv' | 'resnet'): UNetBlockConfig {
    const { config, activation, tembChannels } = this;
    const timeScaleShift = config.resnet_time_scale_shift as 'default' | 'scale_shift';
    const { norm_num_groups: groups, norm_eps: epsilon, resnet_out_scale_factor: outputScaleFactor } = config;
    const resnets = { tembChannels, groups: groups!, epsilon, activation, timeScaleShift, skipTimeAct: this.activatesTime };
    if (sampling === 'conv') return resnets;
    return { ...resnets, skipTimeAct: this.activatesTime || config.resnet_skip_time_act, outputScaleFactor };
  }

  /** Whether blocks are told of the time as their resnets project it, activated once for all of them. */
  private get activatesTime(): boolean {
    return !this.config.resnet_skip_time_act && !blurs(this.config);
  }

  /** The same of a block that blurs. */
  protected blurring(): Pick<KBlockConfig, 'tembChannels' | 'epsilon' | 'activation'> {
    const { config, activation, tembChannels } = this;
    return { tembChannels, epsilon: config.norm_eps, activation };
  }

  /** Features of what blocks are told of the time, and perhaps a class. */
  protected get tembChannels(): number {
    return (this.config.class_embeddings_concat ? 2 : 1) * this.timeEmbedding.outFeatures;
  }

  /** Checks what is given, and makes tensors of it. */
  protected takeInputs(sample: tf.Tensor, timestep: number | readonly number[], conditions: UNetConditions): UNetInputs {
    const { encoderHiddenStates, timestepCond, classLabels, addedCondKwargs } = conditions;
    const { in_channels, center_input_sample, time_cond_proj_dim } = this.config;
    checkShape('unet sample', sample.shape, [null, null, null, in_channels]);
    const [batch] = sample.shape;
    checkShape('unet encoderHiddenStates', encoderHiddenStates.shape, [batch, null, this.textFeatures]);
    const timesteps = typeof timestep === 'number' ? [timestep] : timestep;
    checkCount('timestep', 'timesteps', timesteps.length, batch);
    if (timestepCond) {
      checkShape('unet timestepCond', timestepCond.shape, [null, time_cond_proj_dim ?? 0]);
      checkCount('timestepCond', 'conditions', timestepCond.shape[0], batch);
    }
    return {
      sample: center_input_sample ? tf.sub(tf.mul(sample, 2), 1) : sample,
      sinusoid: this.timeProj ? tf.tensor2d(timesteps.map(each => [each])) : this.sinusoid(timesteps),
      text: encoderHiddenStates,
      timestepCond: time_cond_proj_dim === null ? undefined : timestepCond ?? tf.zeros([1, time_cond_proj_dim]),
      classes: this.takesClasses ? this.takeClasses(classLabels, batch) : undefined,
      added: this.takesAdditions ? this.takeAdditions(addedCondKwargs, batch) : undefined,
    };
  }

  /**
   * What the blocks are told.
   * @param more what else is added to the timestep: `[batch or 1, tembChannels]`.
   */
  protected lead({ sinusoid, text, timestepCond, classes, added }: UNetInputs, more?: tf.Tensor): BlockConditions {
    const time = this.timeEmbedding.forward(this.timeProj?.forward(sinusoid) ?? sinusoid, timestepCond);
    const { classEmbedding, addEmbedding } = this;
    const ofClass = classes && classEmbedding && !(classEmbedding instanceof Embedding) ? classEmbedding.forward(classes) : classes;
    const temb = ofClass ? this.join(time, ofClass) : time;
    const told = more ? tf.add(temb, more) : temb;
    const all = added && addEmbedding ? tf.add(told, addEmbedding.forward(added)) : told;
    return {
      temb: this.activatesTime ? this.activation(all) : all,
      encoderHiddenStates: this.encoderHidProj?.forward(text) ?? text,
    };
  }

  /**
   * Every state on the way down that a way up joins, from what `conv_in` gives on; or the first `count` of them.
   * @param residuals what is added within each of the first blocks.
   */
  protected goDown(
    first: tf.Tensor, conditions: BlockConditions, count = Infinity, residuals: readonly tf.Tensor[] = [],
  ): tf.Tensor[] {
    const states = [first];
    for (const [i, block] of this.downBlocks.entries()) {
      if (states.length < count) states.push(...block.forward(states.at(-1)!, conditions, count - states.length, residuals[i]));
    }
    return states;
  }

  /**
   * What the middle makes of the last state.
   * @param residuals one more than there are blocks on the way down is for the middle, if it is of its size.
   */
  protected goThroughMiddle(states: readonly tf.Tensor[], conditions: BlockConditions, residuals: readonly tf.Tensor[] = []): tf.Tensor {
    const last = states.at(-1)!;
    if (!this.midBlock) return last.clone();
    const middle = this.midBlock.forward(last, conditions);
    const residual = residuals[this.downBlocks.length];
    if (!residual || !tf.util.arraysEqual(residual.shape.slice(1), middle.shape.slice(1))) return middle;
    const sum = addResidual(middle, residual);
    middle.dispose();
    return sum;
  }

  /** `[timesteps, features]`, as the config has sines and cosines. */
  protected sinusoid(timesteps: readonly number[], features = this.config.block_out_channels[0]): tf.Tensor {
    const { flip_sin_to_cos, freq_shift } = this.config;
    return getTimestepEmbedding(timesteps, features, { flipSinToCos: flip_sin_to_cos, downscaleFreqShift: freq_shift });
  }

  /** What `add_embedding` takes, checked: the text, and the sines and cosines of the numbers behind it. */
  private takeAdditions(added: AddedConditions | undefined, batch: number): tf.Tensor {
    const { addition_time_embed_dim: dim, projection_class_embeddings_input_dim: features } = this.config;
    if (!added) throw new TypeError('unet addedCondKwargs: got undefined, takes { textEmbeds, timeIds }');
    const { textEmbeds, timeIds } = added;
    const numbers = timeIds[0]?.length ?? 0;
    checkShape('unet addedCondKwargs.textEmbeds', textEmbeds.shape, [null, null]);
    checkCount('addedCondKwargs.textEmbeds', 'texts', textEmbeds.shape[0], batch);
    checkCount('addedCondKwargs.timeIds', 'rows', timeIds.length, batch);
    if (timeIds.some(row => row.length !== numbers) || textEmbeds.shape[1]! + numbers * dim! !== features) {
      const got = `${textEmbeds.shape[1]} features of a text and ${numbers} numbers of ${dim} features`;
      throw new RangeError(`unet addedCondKwargs: got ${got}, takes ${features} features`);
    }
    const sinusoids = tf.reshape(this.sinusoid(timeIds.flat(), dim!), [timeIds.length, numbers * dim!]);
    return concatRows([textEmbeds, sinusoids]);
  }

  /** The layer `class_embedding`; none where there are no classes, or they are taken as they are. */
  private makeClassEmbedding(): Embedding | TimestepEmbedding | Linear | undefined {
    const { class_embed_type, num_class_embeds, block_out_channels, projection_class_embeddings_input_dim: features } = this.config;
    const { outFeatures } = this.timeEmbedding;
    switch (class_embed_type) {
      case null: return num_class_embeds === null ? undefined : new Embedding(num_class_embeds, outFeatures);
      case 'timestep': return new TimestepEmbedding(block_out_channels[0], outFeatures, { activation: this.activation });
      case 'projection': return new TimestepEmbedding(features!, outFeatures);
      case 'simple_projection': return new Linear(features!, outFeatures);
    }
  }

  /** What `class_embedding` takes, checked, or gives for numbers. */
  private takeClasses(labels: UNetConditions['classLabels'], batch: number): tf.Tensor {
    const { class_embed_type: type, num_class_embeds, projection_class_embeddings_input_dim } = this.config;
    const takesVectors = type !== null && type !== 'timestep';
    if (takesVectors !== labels instanceof tf.Tensor || labels === undefined) {
      const takes = takesVectors ? 'a tensor [samples, features]' : 'a list of numbers, one for each sample';
      throw new TypeError(`unet classLabels: got ${show(labels)}, takes ${takes}`);
    }
    checkCount('classLabels', 'classes', labels instanceof tf.Tensor ? labels.shape[0] : labels.length, batch);
    if (labels instanceof tf.Tensor) {
      const features = type === 'identity' ? this.timeEmbedding.outFeatures : projection_class_embeddings_input_dim;
      checkShape('unet classLabels', labels.shape, [null, features]);
      return labels;
    }
    if (type === 'timestep') return this.sinusoid(labels);
    const numbers = labels.map(label => checkInteger('unet classLabels', label, 0, num_class_embeds! - 1));
    return this.classEmbedding!.forward(tf.tensor1d(numbers, 'int32')); // not in a graph: tfjs looks at such numbers
  }

  /** The embeddings of time and class as one. Each is of the batch, or of all of it at once. */
  private join(time: tf.Tensor, classes: tf.Tensor): tf.Tensor {
    if (!this.config.class_embeddings_concat) return tf.add(time, classes);
    return concatRows([time, classes]);
  }
}

/** One behind the other, each of the batch, or of all of it at once. */
function concatRows(parts: tf.Tensor[]): tf.Tensor {
  const rows = Math.max(...parts.map(({ shape }) => shape[0]));
  return tf.concat(parts.map(x => tf.tile(x, [rows / x.shape[0], 1])), -1);
}

/** @throws RangeError unless there is one for all samples, or one for each. */
function checkCount(name: string, things: string, count: number, batch: number): void {
  if (count !== 1 && count !== batch) {
    throw new RangeError(`unet ${name}: got ${count} ${things}, takes 1 or ${batch}, one for each sample`);
  }
}
