import * as tf from '@tensorflow/tfjs';
import { checkInteger } from '../core/checks.js';
import { widen } from '../core/precision.js';
import { Linear } from '../layers/linear.js';
import { CLIPTextModel, type CLIPTextConfig, type CLIPTextModelOutput } from './clip_text_model.js';

/** What the text encoder computes. */
export type CLIPTextModelWithProjectionOutput = CLIPTextModelOutput & {
  /** One vector for each text: `[batch, projection_dim]`. */
  textEmbeds: tf.Tensor;
};

/**
 * CLIP's text encoder with a projection, which gives one vector for each text.
 * - Weights: CLIPTextModel's, and `text_projection.weight`.
 * Equals transformers' CLIPTextModelWithProjection.
 */
export class CLIPTextModelWithProjection extends CLIPTextModel {
  static override className = 'CLIPTextModelWithProjection';
  private readonly textProjection: Linear;

  constructor(config: Partial<CLIPTextConfig> | { text_config: Partial<CLIPTextConfig> } = {}) {
    super(config);
    const { hidden_size, projection_dim } = this.config;
    checkInteger('text encoder config: projection_dim', projection_dim, 1);
    this.textProjection = this.add('text_projection', new Linear(hidden_size, projection_dim, { bias: false }));
  }

  override compute(inputIds: tf.Tensor | number[][]): CLIPTextModelWithProjectionOutput {
    const output = super.compute(inputIds);
    return { textEmbeds: widen(this.textProjection.forward(this.pool(output.lastHiddenState, inputIds))), ...output };
  }
}
