import * as tf from '@tensorflow/tfjs';
import { widen } from '../core/precision.js';
import { Linear } from '../layers/linear.js';
import { CLIPTextModel, type CLIPTextConfig, type CLIPTextModelOutput } from './clip_text_model.js';

export type CLIPTextModelWithProjectionOutput = CLIPTextModelOutput & {
  /** Each text as a whole: `[batch, projection_dim]`. */
  textEmbeds: tf.Tensor;
};

/**
 * CLIP's text encoder with what makes one vector of a text.
 * - Weights: CLIPTextModel's, and `text_projection.weight`.
 * Equals transformers' CLIPTextModelWithProjection.
 */
export class CLIPTextModelWithProjection extends CLIPTextModel {
  static override className = 'CLIPTextModelWithProjection';
  private readonly textProjection: Linear;

  constructor(config: Partial<CLIPTextConfig> | { text_config: Partial<CLIPTextConfig> } = {}) {
    super(config);
    const { hidden_size, projection_dim } = this.config;
    this.textProjection = this.add('text_projection', new Linear(hidden_size, projection_dim, { bias: false }));
  }

  override compute(inputIds: tf.Tensor | number[][]): CLIPTextModelWithProjectionOutput {
    const ids = inputIds instanceof tf.Tensor ? inputIds : tf.tensor2d(inputIds, undefined, 'int32');
    const output = super.compute(ids);
    const [batch, tokens, features] = output.lastHiddenState.shape;
    const rows = tf.reshape(output.lastHiddenState, [batch * tokens, features!]);
    const begins = tf.mul(tf.range(0, batch, 1, 'int32'), tf.scalar(tokens, 'int32'));
    const ends = tf.gather(rows, tf.add(this.endsOf(ids), begins) as tf.Tensor1D);
    return { textEmbeds: widen(this.textProjection.forward(ends)), ...output };
  }

  /** Where each text ends: `[batch]`, int32. Of equal tokens the first. */
  private endsOf(ids: tf.Tensor): tf.Tensor {
    const tokens = ids.shape[1]!;
    const { eos_token_id } = this.config;
    const marks = eos_token_id === 2 ? ids : tf.equal(ids, tf.scalar(eos_token_id, 'int32'));
    return tf.argMax(tf.add(tf.mul(tf.cast(marks, 'float32'), tokens), tf.range(tokens - 1, -1, -1)), 1);
  }
}
