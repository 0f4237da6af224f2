import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkShape } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { AdaLayerNormContinuous } from '../layers/ada_layer_norm.js';
import { JointTransformerBlock, type JointStates } from '../layers/joint_transformer_block.js';
import { Linear } from '../layers/linear.js';
import { PatchEmbed, unpatchify } from '../layers/patch_embed.js';
import { completeSD3Config, type SD3Transformer2DConfig } from './sd3_config.js';
import { SD3Path, type SD3Conditions, type SD3Inputs } from './sd3_path.js';

/** Inputs that change a prediction. */
export interface SD3Additions {
  /** The tensors that ControlNets add after blocks: `[batch, patches, dim]`. Each is added after the same number of blocks. */
  controlnetBlockSamples?: readonly tf.Tensor[];
  /** The numbers of blocks that are left out, as for skip layer guidance. */
  skipLayers?: readonly number[];
}

/** All that it is given, as a graph takes it. */
type Inputs = SD3Inputs & { text: tf.Tensor; control?: tf.Tensor[]; skip: number[] };

/**
 * The denoiser of Stable Diffusion 3: a transformer over patches of the latents and the tokens of a text, which attend to each other.
 * - Weights below `pos_embed`, `time_text_embed`, `context_embedder`, `transformer_blocks.N`, `norm_out`, `proj_out`.
 * Equals diffusers' SD3Transformer2DModel for every config of SD3 and SD3.5 (arXiv:2403.03206).
 * @throws TypeError, RangeError for a config of another architecture, or one that contradicts itself.
 */
export class SD3Transformer2DModel extends SD3Path<SD3Transformer2DConfig> {
  static className = 'SD3Transformer2DModel';
  private readonly posEmbed: PatchEmbed;
  private readonly contextEmbedder: Linear;
  private readonly blocks: readonly JointTransformerBlock[];
  private readonly normOut: AdaLayerNormContinuous;
  private readonly projOut: Linear;

  constructor(config: Partial<SD3Transformer2DConfig> = {}) {
    super(completeSD3Config(config), 'transformer');
    const { dim } = this;
    const { patch_size: patchSize, in_channels: inChannels, pos_embed_max_size: maxSize, num_layers, joint_attention_dim } = this.config;
    this.posEmbed = this.add('pos_embed', new PatchEmbed({ patchSize, inChannels, dim, maxSize }));
    this.contextEmbedder = this.add('context_embedder', new Linear(joint_attention_dim, dim));
    this.blocks = this.addList('transformer_blocks', num_layers,
      i => new JointTransformerBlock({ ...this.blockConfig(i), contextPreOnly: i === num_layers - 1 }));
    this.normOut = this.add('norm_out', new AdaLayerNormContinuous(dim));
    this.projOut = this.add('proj_out', new Linear(dim, patchSize ** 2 * this.outChannels));
  }

  private get outChannels(): number {
    return this.config.out_channels ?? this.config.in_channels;
  }

  /**
   * The velocity of noisy latents.
   * @param sample `[batch, height, width, in_channels]`: height and width are multiples of patch_size, up to pos_embed_max_size of them.
   * @param timestep from 0 to 1000, any number; one for all samples, or one for each.
   * @param conditions see SD3Conditions and SD3Additions.
   * @returns `[batch, height, width, out_channels]`, float32 whatever the weights are; the caller disposes it.
   * @throws RangeError for what does not fit.
   */
  compute(sample: tf.Tensor, timestep: number | readonly number[], conditions: SD3Conditions & SD3Additions): tf.Tensor {
    const { encoderHiddenStates: text, pooledProjections, controlnetBlockSamples, skipLayers = [] } = conditions;
    const [rows, columns] = this.checkSample(sample);
    const [batch] = sample.shape;
    checkShape('transformer encoderHiddenStates', text.shape, [batch, null, this.config.joint_attention_dim]);
    return this.graph('predict', this.predict, {
      ...this.takeInputs(sample, timestep, pooledProjections), text,
      ...controlnetBlockSamples && { control: this.takeControl(controlnetBlockSamples, [batch, rows * columns, this.dim]) },
      skip: skipLayers.map(layer => checkInteger('transformer skipLayers', layer, 0, this.blocks.length - 1)),
    });
  }

  /**
   * The latents as tokens, which are the input of the first block: for ControlNets that take tokens.
   * @param sample as `forward`'s.
   * @returns `[batch, patches, dim]`; the caller disposes it.
   */
  embedPatches(sample: tf.Tensor): tf.Tensor {
    this.checkSample(sample);
    return this.graph('patches', sample => this.posEmbed.forward(sample), sample);
  }

  /** Height and width in patches. @throws RangeError for latents that do not fit. */
  private checkSample({ shape }: tf.Tensor): [number, number] {
    checkShape('transformer sample', shape, [null, null, null, this.config.in_channels]);
    return this.posEmbed.checkSize('transformer sample', shape);
  }

  private takeControl(samples: readonly tf.Tensor[], shape: readonly number[]): tf.Tensor[] {
    checkInteger('transformer controlnetBlockSamples: number of them', samples.length, 1);
    samples.forEach(sample => checkShape('transformer controlnetBlockSamples', sample.shape, shape));
    return [...samples];
  }

  private readonly predict = ({ text, control, skip, ...inputs }: Inputs): tf.Tensor => {
    const { sample } = inputs;
    const { patch_size: patchSize } = this.config;
    const embedding = this.embed(inputs);
    const states = { image: this.posEmbed.forward(sample), text: this.contextEmbedder.forward(text) };
    const image = this.goThrough(states, embedding, skip, control);
    const patches = this.projOut.forward(this.normOut.forward(image, embedding));
    return widen(unpatchify(patches, [sample.shape[1]! / patchSize, sample.shape[2]! / patchSize], patchSize));
  };

  /** The image behind all blocks. What is given is taken over. */
  private goThrough(states: JointStates, embedding: tf.Tensor, skip: readonly number[], control?: readonly tf.Tensor[]): tf.Tensor {
    const { length } = this.blocks;
    const last = length - 1;
    return this.blocks.reduce((before, block, i) => {
      let after = before;
      if (!skip.includes(i)) {
        after = block.forward(before as Required<JointStates>, embedding);
        tf.dispose([before.image, before.text!]);
      }
      if (!control || i === last) return after;
      const led = tf.add(after.image, control[Math.floor(i / (length / control.length))]);
      after.image.dispose();
      return { image: led, text: after.text };
    }, states).image;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const [batch, height, width] = inputShape as tf.Shape;
    return [batch, height, width, this.outChannels];
  }
}
