import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkShape } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { Conv2d } from '../layers/conv2d.js';
import { LayerNorm } from '../layers/layer_norm.js';
import { Linear } from '../layers/linear.js';
import { CLIPEncoderLayer } from './clip_encoder_layer.js';
import { completeVisionConfig, type CLIPVisionConfig } from './clip_vision_config.js';
import { Model } from './model.js';

/** What the image encoder computes. */
export type CLIPVisionModelOutput = {
  /** One vector for each picture, near those of texts that say what it shows: `[batch, projection_dim]`. */
  imageEmbeds: tf.Tensor;
  /** The output of the last layer: `[batch, 1 + patches, hidden_size]`, first the class token, which stands for the whole picture. */
  lastHiddenState: tf.Tensor;
  /** The input of the first layer, then the output of each: `num_hidden_layers + 1` tensors. */
  hiddenStates: tf.Tensor[];
};

/**
 * CLIP's image encoder: pictures to hidden states, and to one vector each that lies near those of fitting texts.
 * - Weights below `vision_model`, and `visual_projection.weight`.
 * Equals transformers' CLIPVisionModelWithProjection (arXiv:2103.00020).
 */
export class CLIPVisionModelWithProjection extends Model<CLIPVisionConfig> {
  static className = 'CLIPVisionModelWithProjection';
  protected override readonly modelType = 'clip_vision_model';
  private readonly visionModel: CLIPVisionTransformer;
  private readonly visualProjection: Linear;

  constructor(config: Partial<CLIPVisionConfig> = {}) {
    super(completeVisionConfig('image encoder config', config));
    const { hidden_size, projection_dim } = this.config;
    this.visionModel = this.add('vision_model', new CLIPVisionTransformer('image encoder config', this.config));
    this.visualProjection = this.add('visual_projection', new Linear(hidden_size, projection_dim, { bias: false }));
  }

  /**
   * @param pixels `[batch, image_size, image_size, num_channels]`, as CLIPImageProcessor gives them.
   * @returns float32 whatever the weights are; the caller disposes it.
   */
  compute(pixels: tf.Tensor): CLIPVisionModelOutput {
    const { image_size, num_channels } = this.config;
    checkShape('image encoder pixels', pixels.shape, [null, image_size, image_size, num_channels]);
    const [imageEmbeds, ...hiddenStates] = this.graphOfMany('encode', pixels => {
      const states = this.visionModel.forward(pixels);
      return [this.visualProjection.forward(this.visionModel.pool(states.at(-1)!)), ...states].map(state => widen(state));
    }, pixels);
    return { imageEmbeds, lastHiddenState: hiddenStates.at(-1)!.clone(), hiddenStates };
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => (this as CLIPVisionModelWithProjection).forward(Array.isArray(inputs) ? inputs[0] : inputs).imageEmbeds);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return [(super.computeOutputShape(inputShape) as tf.Shape)[0], this.config.projection_dim];
  }
}

/**
 * A transformer over the squares of a picture.
 * - In: `[batch, image_size, image_size, num_channels]`; out: the states before, between and after the layers.
 * - Weights below `embeddings`, `pre_layrnorm` (as the checkpoints have it), `encoder.layers.N`, `post_layernorm`.
 * Equals transformers' CLIPVisionModel.
 */
export class CLIPVisionTransformer extends Block {
  static className = 'CLIPVisionTransformer';
  private readonly patchEmbedding: Conv2d;
  private readonly preLayerNorm: LayerNorm;
  private readonly layers: CLIPEncoderLayer[];
  private readonly postLayerNorm: LayerNorm;

  /** @param name what errors call the config. */
  constructor(name: string, private readonly config: CLIPVisionConfig) {
    super();
    const { hidden_size: features, num_hidden_layers, num_channels, image_size, patch_size, layer_norm_eps } = config;
    this.addParameter('embeddings.class_embedding', [features]);
    this.patchEmbedding = this.add('embeddings.patch_embedding', new Conv2d(num_channels, features, {
      kernelSize: patch_size, stride: patch_size, padding: [0, 0, 0, 0], bias: false,
    }));
    this.addParameter('embeddings.position_embedding.weight', [1 + Math.floor(image_size / patch_size) ** 2, features]);
    this.preLayerNorm = this.add('pre_layrnorm', new LayerNorm(features, layer_norm_eps));
    this.layers = this.addList('encoder.layers', num_hidden_layers, () => new CLIPEncoderLayer(name, config));
    this.postLayerNorm = this.add('post_layernorm', new LayerNorm(features, layer_norm_eps));
  }

  compute(pixels: tf.Tensor): tf.Tensor[] {
    const { hidden_size: features } = this.config;
    const [batch] = pixels.shape;
    const patches = this.patchEmbedding.forward(pixels);
    const [, rows, columns] = patches.shape;
    const whole = tf.tile(tf.reshape(this.parameter('embeddings.class_embedding'), [1, 1, features]), [batch, 1, 1]);
    const tokens = tf.concat([whole, tf.reshape(patches, [batch, rows * columns!, features])], 1);
    let hidden = this.preLayerNorm.forward(tf.add(tokens, this.parameter('embeddings.position_embedding.weight')));
    return [hidden, ...this.layers.map(layer => (hidden = layer.forward(hidden)))];
  }

  /** Each picture as a whole, `[batch, hidden_size]`, of the last state. */
  pool(lastState: tf.Tensor): tf.Tensor {
    const [batch, , features] = lastState.shape;
    return this.postLayerNorm.forward(tf.reshape(tf.slice(lastState, [0, 0, 0], [batch, 1, features!]), [batch, features!]));
  }
}
