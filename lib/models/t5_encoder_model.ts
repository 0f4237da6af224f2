import * as tf from '@tensorflow/tfjs';
import { follow } from '../core/sequence.js';
import { widen } from '../core/precision.js';
import { Embedding } from '../layers/embedding.js';
import { Model } from './model.js';
import { T5Block, T5LayerNorm } from './t5_block.js';
import { completeConfig, type T5Config } from './t5_config.js';

/**
 * T5's text encoder: token ids to hidden states, as Stable Diffusion 3 reads long texts. It has no mask: padding counts as text does.
 * Parameters are named as in a checkpoint; what that has of a decoder is left out when loading, and `encoder.embed_tokens`, which is the
 * same as `shared`, is accepted in its place or beside it.
 * Equals transformers' T5EncoderModel (arXiv:1910.10683). In halves `wo`, and all that is added up, is computed in float32.
 */
export class T5EncoderModel extends Model<T5Config> {
  static className = 'T5EncoderModel';
  protected override readonly modelType = 't5';
  private readonly shared: Embedding;
  private readonly blocks: T5Block[];
  private readonly finalLayerNorm: T5LayerNorm;

  /** @throws TypeError, RangeError naming the key of the config whose value does not fit. */
  constructor(config: Partial<T5Config> = {}) {
    super(completeConfig(config));
    const { vocab_size, d_model, num_layers, layer_norm_epsilon } = this.config;
    this.shared = this.add('shared', new Embedding(vocab_size, d_model));
    this.blocks = this.addList('encoder.block', num_layers, i => new T5Block(this.config, { positions: i === 0 }));
    this.finalLayerNorm = this.add('encoder.final_layer_norm', new T5LayerNorm(d_model, layer_norm_epsilon));
  }

  /**
   * @param inputIds `[batch, tokens]` token ids, rows of one length, which may be any.
   * @returns `[batch, tokens, d_model]`, float32 whatever the weights are; the caller disposes it.
   */
  compute(inputIds: tf.Tensor | number[][]): tf.Tensor {
    const ids = inputIds instanceof tf.Tensor ? inputIds : tf.tensor2d(inputIds, undefined, 'int32');
    return this.graph('encode', this.encode, this.shared.forward(ids));
  }

  /** Embedded tokens to the normalized state of the last block. */
  private readonly encode = (embedded: tf.Tensor): tf.Tensor => {
    const positionBias = this.blocks[0]?.positionBias(embedded.shape[1]!);
    const blocks = this.blocks.map(block => (x: tf.Tensor) => block.forward(x, positionBias));
    return widen(this.finalLayerNorm.forward(follow(widen(embedded), blocks)));
  };

  /** How many tokens it knows; their ids are smaller than this. */
  get tokens(): number {
    return this.shared.count;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return this.shared.computeOutputShape(super.computeOutputShape(inputShape));
  }
}
