import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { gelu } from './activations.js';
import { Attention } from './attention.js';
import { FeedForward } from './feed_forward.js';
import { LayerNorm } from './layer_norm.js';
import { Linear } from './linear.js';

/** Features of one head of an IPAdapterPlusImageProjection. */
export const PLUS_HEAD_SIZE = 64;

/** The kind of an image projection, and its sizes. */
export type ImageProjectionConfig =
  | { kind: 'base'; imageEmbedDim: number; crossAttentionDim: number; tokens: number }
  | { kind: 'full'; imageEmbedDim: number; crossAttentionDim: number }
  | { kind: 'plus'; embedDim: number; hiddenDim: number; outputDim: number; heads: number; tokens: number; layers: number };

/** Turns an image encoder's output for a picture into tokens that a UNet attends to. */
export abstract class ImageTokens extends Block {
  /** Whether it reads the encoder's states, one for each square of the picture, instead of one embedding for the whole picture. */
  abstract readonly readsStates: boolean;
  /** Features of its input. */
  abstract readonly inFeatures: number;

  /** `[pictures, inFeatures]`, or of states `[pictures, states, inFeatures]`, to `[pictures, tokens, features]`. */
  abstract override compute(embeds: tf.Tensor): tf.Tensor;
}

/**
 * A few tokens for the whole picture, from its embedding.
 * - In: `[pictures, imageEmbedDim]`; out: `[pictures, tokens, crossAttentionDim]`.
 * - Weights below `image_embeds`, `norm`.
 * Equals diffusers' ImageProjection, of IP-Adapter (arXiv:2308.06721).
 */
export class ImageProjection extends ImageTokens {
  static className = 'ImageProjection';
  readonly readsStates = false;
  private readonly imageEmbeds: Linear;
  private readonly norm: LayerNorm;

  constructor(readonly inFeatures: number, private readonly features: number, private readonly tokens: number) {
    super();
    this.imageEmbeds = this.add('image_embeds', new Linear(inFeatures, tokens * features));
    this.norm = this.add('norm', new LayerNorm(features));
  }

  compute(embeds: tf.Tensor): tf.Tensor {
    return this.norm.forward(tf.reshape(this.imageEmbeds.forward(embeds), [embeds.shape[0], this.tokens, this.features]));
  }
}

/**
 * One token from each of the encoder's states.
 * - In: `[pictures, states, inFeatures]`; out: `[pictures, states, features]`.
 * - Weights below `ff`, `norm`.
 * Equals diffusers' IPAdapterFullImageProjection, of IP-Adapter Full Face.
 */
export class IPAdapterFullImageProjection extends ImageTokens {
  static className = 'IPAdapterFullImageProjection';
  readonly readsStates = true;
  private readonly ff: FeedForward;
  private readonly norm: LayerNorm;

  constructor(readonly inFeatures: number, features: number) {
    super();
    this.ff = this.add('ff', new FeedForward(inFeatures, { activation: gelu, innerDim: inFeatures, outDim: features }));
    this.norm = this.add('norm', new LayerNorm(features));
  }

  compute(states: tf.Tensor): tf.Tensor {
    return this.norm.forward(this.ff.forward(states));
  }
}

/**
 * Tokens that attend to the encoder's states, as a resampler.
 * - In: `[pictures, states, embedDim]`; out: `[pictures, tokens, outputDim]`.
 * - Weights: `latents` `[1, tokens, hiddenDim]`, and those below `proj_in`, `proj_out`, `norm_out`, `layers.N`.
 * Equals diffusers' IPAdapterPlusImageProjection, of IP-Adapter Plus.
 */
export class IPAdapterPlusImageProjection extends ImageTokens {
  static className = 'IPAdapterPlusImageProjection';
  readonly readsStates = true;
  readonly inFeatures: number;
  private readonly projIn: Linear;
  private readonly layers: PlusBlock[];
  private readonly projOut: Linear;
  private readonly normOut: LayerNorm;

  constructor({ embedDim, hiddenDim, outputDim, heads, tokens, layers }: ImageProjectionConfig & { kind: 'plus' }) {
    super();
    this.inFeatures = embedDim;
    this.addParameter('latents', [1, tokens, hiddenDim]);
    this.projIn = this.add('proj_in', new Linear(embedDim, hiddenDim));
    this.projOut = this.add('proj_out', new Linear(hiddenDim, outputDim));
    this.normOut = this.add('norm_out', new LayerNorm(outputDim));
    this.layers = this.addList('layers', layers, () => new PlusBlock(hiddenDim, heads));
  }

  compute(states: tf.Tensor): tf.Tensor {
    const read = this.projIn.forward(states);
    const tokens = tf.tile(this.parameter('latents'), [states.shape[0], 1, 1]);
    return this.normOut.forward(this.projOut.forward(this.layers.reduce((tokens, layer) => layer.forward(tokens, read), tokens)));
  }
}

/** Equals diffusers' IPAdapterPlusImageProjectionBlock: the tokens attend to the states and to themselves at once. */
class PlusBlock extends Block {
  static className = 'IPAdapterPlusImageProjectionBlock';
  private readonly normStates: LayerNorm;
  private readonly normTokens: LayerNorm;
  private readonly attention: Attention;
  private readonly normFeedForward: LayerNorm;
  private readonly feedForward: FeedForward;

  constructor(features: number, heads: number) {
    super();
    this.normStates = this.add('ln0', new LayerNorm(features));
    this.normTokens = this.add('ln1', new LayerNorm(features));
    this.attention = this.add('attn', new Attention({ queryDim: features, heads, innerDim: heads * PLUS_HEAD_SIZE, outBias: false }));
    this.normFeedForward = this.add('ff.0', new LayerNorm(features));
    this.feedForward = this.add('ff.1', new FeedForward(features, { activation: gelu, bias: false }));
  }

  compute(tokens: tf.Tensor, states: tf.Tensor): tf.Tensor {
    const normalized = this.normTokens.forward(tokens);
    const context = tf.concat([this.normStates.forward(states), normalized], 1);
    const attended = tf.add(this.attention.forward(normalized, context), tokens);
    return tf.add(this.feedForward.forward(this.normFeedForward.forward(attended)), attended);
  }
}

/** The projection that a config describes. */
export function imageProjection(config: ImageProjectionConfig): ImageTokens {
  switch (config.kind) {
    case 'base': return new ImageProjection(config.imageEmbedDim, config.crossAttentionDim, config.tokens);
    case 'full': return new IPAdapterFullImageProjection(config.imageEmbedDim, config.crossAttentionDim);
    case 'plus': return new IPAdapterPlusImageProjection(config);
  }
}
