import * as tf from '@tensorflow/tfjs';
import { checkOptionNames, checkShape, show } from '../core/checks.js';
import { JointTransformerBlock, SD3SingleTransformerBlock, type JointStates } from '../layers/joint_transformer_block.js';
import { Linear } from '../layers/linear.js';
import { PatchEmbed } from '../layers/patch_embed.js';
import { completeSD3ControlNetConfig, type SD3ControlNetConfig } from './sd3_config.js';
import type { SD3Transformer2DModel } from './sd3_transformer_2d_model.js';
import { SD3Path, type SD3Conditions, type SD3Inputs } from './sd3_path.js';

/** The inputs of a ControlNet of Stable Diffusion 3. */
export interface SD3ControlConditions extends Omit<SD3Conditions, 'encoderHiddenStates'> {
  /** The text: `[batch, tokens, joint_attention_dim]`, unless joint_attention_dim is null. */
  encoderHiddenStates?: tf.Tensor;
  /** The picture to steer by as latents: `[batch, height, width, in_channels + extra_conditioning_channels]`. */
  controlnetCond: tf.Tensor;
  /** How strongly: 1 by default. */
  conditioningScale?: number;
}

/** The output of a ControlNet of Stable Diffusion 3. */
export type SD3ControlNetOutput = {
  /** The tensors that the transformer adds after its blocks: `[batch, patches, dim]`. Each is added after the same number of blocks. */
  controlnetBlockSamples: tf.Tensor[];
};

/** What `fromTransformer` takes. */
export interface FromTransformerOptions {
  /** How many of its first layers: 12 by default; null for as many as it has. */
  numLayers?: number | null;
  /** Channels of what it steers by besides the latents': 1 by default, as for a mask. */
  numExtraConditioningChannels?: number;
  /** Whether its weights are the transformer's; true by default. */
  loadWeightsFromTransformer?: boolean;
}

/** What begins as zeros, so that a new ControlNet changes nothing. */
const ZERO = /^(controlnet_blocks|pos_embed_input)\./;

/** All that it is given, as a graph takes it. */
type Inputs = SD3Inputs & { text?: tf.Tensor; picture: tf.Tensor; scale: tf.Tensor };

/**
 * Repeats some blocks of Stable Diffusion 3's transformer with a picture to steer by added to the patches, and gives tensors to add after
 * the transformer's blocks.
 * - Weights below `pos_embed`, `time_text_embed`, `context_embedder`, `transformer_blocks.N`, `controlnet_blocks.N`, `pos_embed_input`.
 * Equals diffusers' SD3ControlNetModel.
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export class SD3ControlNetModel extends SD3Path<SD3ControlNetConfig> {
  static className = 'SD3ControlNetModel';

  /** Fills in `extra_conditioning_channels`, which alimama's config leaves out, from the shape of the weights. */
  static completeConfig(config: Partial<SD3ControlNetConfig>, sizes: ReadonlyMap<string, number>): Partial<SD3ControlNetConfig> {
    const size = sizes.get('pos_embed_input.proj.weight');
    if (size === undefined || config.extra_conditioning_channels !== undefined) return config;
    const { num_attention_heads: heads, attention_head_dim: headSize, patch_size, in_channels } = completeSD3ControlNetConfig(config);
    const extra = size / (heads * headSize * patch_size ** 2) - in_channels;
    return Number.isInteger(extra) && extra > 0 ? { ...config, extra_conditioning_channels: extra } : config;
  }

  private readonly posEmbed?: PatchEmbed;
  private readonly contextEmbedder?: Linear;
  private readonly blocks: ReadonlyArray<JointTransformerBlock | SD3SingleTransformerBlock>;
  private readonly controls: readonly Linear[];
  private readonly posEmbedInput: PatchEmbed;

  constructor(config: Partial<SD3ControlNetConfig> = {}) {
    super(completeSD3ControlNetConfig(config), 'controlnet');
    const { dim, config: { patch_size: patchSize, num_layers, joint_attention_dim: textDim } } = this;
    const { in_channels: inChannels, pos_embed_max_size, pos_embed_type, use_pos_embed, extra_conditioning_channels } = this.config;
    if (use_pos_embed) {
      const maxSize = pos_embed_type === null ? undefined : pos_embed_max_size!;
      this.posEmbed = this.add('pos_embed', new PatchEmbed({ patchSize, inChannels, dim, maxSize }));
    }
    if (textDim !== null) this.contextEmbedder = this.add('context_embedder', new Linear(textDim, dim));
    this.blocks = this.addList<JointTransformerBlock | SD3SingleTransformerBlock>('transformer_blocks', num_layers,
      i => textDim === null ? new SD3SingleTransformerBlock(this.blockConfig(i)) : new JointTransformerBlock(this.blockConfig(i)));
    this.controls = this.addList('controlnet_blocks', num_layers, () => new Linear(dim, dim));
    const steering = new PatchEmbed({ patchSize, inChannels: inChannels + extra_conditioning_channels, dim });
    this.posEmbedInput = this.add('pos_embed_input', steering);
  }

  /**
   * One for a transformer, that changes nothing yet: to be trained, or to load weights into.
   * @throws RangeError for as many layers as the transformer has, if they are to have its weights: its last is built otherwise.
   */
  static fromTransformer(transformer: SD3Transformer2DModel, options: FromTransformerOptions = {}): SD3ControlNetModel {
    checkOptionNames('fromTransformer', options, ['numLayers', 'numExtraConditioningChannels', 'loadWeightsFromTransformer']);
    const { numExtraConditioningChannels: extra = 1, loadWeightsFromTransformer = true } = options;
    const most = transformer.config.num_layers;
    const numLayers = options.numLayers === null ? most : options.numLayers ?? 12;
    if (loadWeightsFromTransformer && numLayers >= most) {
      throw new RangeError(`numLayers: got ${show(numLayers)}, takes less than ${most}: the transformer's last layer is built otherwise`);
    }
    const controlnet = new SD3ControlNetModel({ ...transformer.config, num_layers: numLayers, extra_conditioning_channels: extra });
    const weights = loadWeightsFromTransformer ? transformer.stateDict() : {};
    for (const [path, { shape }] of controlnet.parameterSpecs()) {
      if (ZERO.test(path)) controlnet.setParameter(path, tf.zeros(shape as number[]));
      else if (path in weights) controlnet.setParameter(path, weights[path].clone());
    }
    return controlnet;
  }

  /**
   * The tensors to add after the blocks of a transformer that gets the same inputs.
   * @param sample as the transformer's; without use_pos_embed what `embedPatches` of the transformer gives.
   * @param timestep as the transformer's.
   * @param conditions see SD3ControlConditions.
   * @returns tensors that the caller disposes.
   * @throws TypeError, RangeError for what does not fit.
   */
  compute(sample: tf.Tensor, timestep: number | readonly number[], conditions: SD3ControlConditions): SD3ControlNetOutput {
    const { encoderHiddenStates: text, pooledProjections, controlnetCond, conditioningScale = 1 } = conditions;
    this.checkImages(sample, controlnetCond);
    const { joint_attention_dim: textDim } = this.config;
    if ((text === undefined) !== (textDim === null)) {
      throw new TypeError(`controlnet encoderHiddenStates: got ${text ? 'a tensor' : 'undefined'}, ` +
        `takes ${textDim === null ? 'none where joint_attention_dim is null' : `a tensor [batch, tokens, ${textDim}]`}`);
    }
    if (text) checkShape('controlnet encoderHiddenStates', text.shape, [sample.shape[0], null, textDim]);
    const told = { ...this.takeInputs(sample, timestep, pooledProjections), ...text && { text } };
    const inputs = { ...told, picture: controlnetCond, scale: tf.scalar(conditioningScale) };
    return { controlnetBlockSamples: this.graphOf('control', this.control, inputs) };
  }

  /** @throws RangeError for a picture that is not of the sample's size. */
  private checkImages(sample: tf.Tensor, picture: tf.Tensor): void {
    const { in_channels: channels, extra_conditioning_channels: more } = this.config;
    const [batch, height, width] = sample.shape;
    if (this.posEmbed) {
      checkShape('controlnet sample', sample.shape, [null, null, null, channels]);
      this.posEmbed.checkSize('controlnet sample', sample.shape);
      checkShape('controlnet controlnetCond', picture.shape, [batch, height, width!, channels + more]);
      return;
    }
    checkShape('controlnet controlnetCond', picture.shape, [batch, null, null, channels + more]);
    const [rows, columns] = this.posEmbedInput.checkSize('controlnet controlnetCond', picture.shape);
    checkShape('controlnet sample (patches)', sample.shape, [batch, rows * columns, this.dim]);
  }

  private readonly control = ({ text, picture, scale, ...inputs }: Inputs): tf.Tensor[] => {
    const embedding = this.embed(inputs);
    const first = tf.tidy(() =>
      tf.add(this.posEmbed?.forward(inputs.sample) ?? inputs.sample, this.posEmbedInput.forward(picture)));
    let states: JointStates = { image: first, text: text && this.contextEmbedder!.forward(text) };
    return this.blocks.map((block, i) => {
      const before = states;
      states = block instanceof SD3SingleTransformerBlock
        ? { image: block.forward(before.image, embedding) }
        : block.forward(before as Required<JointStates>, embedding, i < this.blocks.length - 1);
      tf.dispose([before.image, before.text!]);
      return tf.tidy(() => tf.mul(this.controls[i].forward(states.image), scale));
    });
  };

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
    void inputShape;
    throw new Error('controlnet: has no one output; it goes beside a transformer');
  }
}
