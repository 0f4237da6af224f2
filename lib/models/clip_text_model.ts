import * as tf from '@tensorflow/tfjs';
import { checkShape } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { widen } from '../core/precision.js';
import { Embedding } from '../layers/embedding.js';
import { LayerNorm } from '../layers/layer_norm.js';
import { causalMask } from '../layers/scaled_dot_product_attention.js';
import { CLIPEncoderLayer } from './clip_encoder_layer.js';
import { LAYERS, mergeConfig, real, text, whole, type ConfigKeys } from './config.js';
import { Model } from './model.js';

/** What `text_encoder/config.json` says. The defaults are SD1.x's (openai/clip-vit-large-patch14). */
export interface CLIPTextConfig {
  vocab_size: number;
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  max_position_embeddings: number;
  hidden_act: string;
  layer_norm_eps: number;
  /** Of CLIPTextModelWithProjection: features of its embedding of a text. */
  projection_dim: number;
  /** The end token, at whose first place the pooled output is taken; 2, which old configs have, means the token with the highest id. */
  eos_token_id: number;
}

const KEYS: ConfigKeys<CLIPTextConfig> = {
  vocab_size: whole(49408),
  hidden_size: whole(768),
  intermediate_size: whole(3072),
  num_hidden_layers: whole(12, LAYERS),
  num_attention_heads: whole(12),
  max_position_embeddings: whole(77),
  hidden_act: text('quick_gelu'),
  layer_norm_eps: real(1e-5),
  projection_dim: whole(768, { least: 0 }), // which many say and do not have
  eos_token_id: whole(49407, { least: 0 }),
};

/** What transformers takes where a whole CLIP's `text_config` says nothing, and other than the above: it writes none of its defaults. */
const NESTED_KEYS: ConfigKeys<CLIPTextConfig> = {
  ...KEYS, hidden_size: whole(512), intermediate_size: whole(2048), num_attention_heads: whole(8), projection_dim: whole(512, { least: 0 }),
};

/** What the text encoder computes. */
export type CLIPTextModelOutput = {
  /** After the final norm: `[batch, tokens, hidden_size]`. */
  lastHiddenState: tf.Tensor;
  /** The embeddings, then the output of each layer, none of them normalized: `num_hidden_layers + 1` tensors. */
  hiddenStates: tf.Tensor[];
};

/**
 * CLIP's text encoder: token ids to the hidden states that the UNet attends to.
 * Parameters are named as transformers 5 saves them; a checkpoint's `text_model.` before each is accepted when loading.
 * Equals transformers' CLIPTextModel (arXiv:2103.00020); the pooled output is what `pool` gives.
 */
export class CLIPTextModel extends Model<CLIPTextConfig> {
  static className = 'CLIPTextModel';
  protected override readonly modelType = 'clip_text_model';
  private readonly tokenEmbedding: Embedding;
  private readonly positionEmbedding: Embedding;
  private readonly layers: CLIPEncoderLayer[];
  /** Applied to the last layer's output, and to an earlier one's for clip skip. */
  readonly finalLayerNorm: LayerNorm;

  /** @param config also that of a whole CLIP, with a `text_config` in it. */
  constructor(config: Partial<CLIPTextConfig> | { text_config: Partial<CLIPTextConfig> } = {}) {
    super(completeConfig(config));
    const { vocab_size, hidden_size, num_hidden_layers, max_position_embeddings, layer_norm_eps } = this.config;
    this.tokenEmbedding = this.add('embeddings.token_embedding', new Embedding(vocab_size, hidden_size));
    this.positionEmbedding = this.add('embeddings.position_embedding', new Embedding(max_position_embeddings, hidden_size));
    this.layers = this.addList('encoder.layers', num_hidden_layers, () => new CLIPEncoderLayer('text encoder config', this.config));
    this.finalLayerNorm = this.add('final_layer_norm', new LayerNorm(hidden_size, layer_norm_eps));
  }

  /**
   * @param inputIds `[batch, tokens]` token ids, rows of one length.
   * @returns The hidden states, float32 whatever the weights are; the caller disposes them.
   * @throws RangeError for more tokens than there are positions.
   */
  compute(inputIds: tf.Tensor | number[][]): CLIPTextModelOutput {
    const ids = inputIds instanceof tf.Tensor ? inputIds : tf.tensor2d(inputIds, undefined, 'int32');
    const tokens = ids.shape[1]!;
    const positions = this.config.max_position_embeddings;
    if (tokens > positions) throw new RangeError(`text encoder: got ${tokens} tokens, takes ${positions} at most`);
    const embedded = tf.add(this.tokenEmbedding.forward(ids), this.positionEmbedding.forward(tf.range(0, tokens, 1, 'int32')));
    const [lastHiddenState, ...hiddenStates] = this.graphOfMany('encode', this.encode, embedded);
    return { lastHiddenState, hiddenStates };
  }

  /** Embedded tokens to the normalized state of the last layer, and the states before, between and after all layers. */
  private readonly encode = (embedded: tf.Tensor): tf.Tensor[] => {
    const mask = causalMask(embedded.shape[1]!);
    let hidden = embedded;
    const states = [hidden, ...this.layers.map(layer => (hidden = layer.forward(hidden, mask)))];
    return [this.finalLayerNorm.forward(hidden), ...states].map(state => widen(state));
  };

  /**
   * One vector for each text, not projected: the row of `lastHiddenState` at the first of the text's end tokens.
   * @param inputIds as `forward` was given.
   * @returns `[batch, hidden_size]`; the caller disposes it.
   */
  pool(lastHiddenState: tf.Tensor, inputIds: tf.Tensor | number[][]): tf.Tensor {
    return tf.tidy(() => {
      const [batch, tokens, features] = lastHiddenState.shape;
      const rows = tf.reshape(lastHiddenState, [batch * tokens!, features!]);
      const begins = tf.mul(tf.range(0, batch, 1, 'int32'), tf.scalar(tokens!, 'int32'));
      const ids = inputIds instanceof tf.Tensor ? inputIds : tf.tensor2d(inputIds, undefined, 'int32');
      return tf.gather(rows, tf.add(this.endsOf(ids), begins) as tf.Tensor1D);
    });
  }

  /** Where each text ends: `[batch]`, int32. Of equal tokens the first. */
  private endsOf(ids: tf.Tensor): tf.Tensor {
    const tokens = ids.shape[1]!;
    const { eos_token_id } = this.config;
    const marks = eos_token_id === 2 ? ids : tf.equal(ids, tf.scalar(eos_token_id, 'int32'));
    return tf.argMax(tf.add(tf.mul(tf.cast(marks, 'float32'), tokens), tf.range(tokens - 1, -1, -1)), 1);
  }

  override get fileConfig(): Readonly<Record<string, unknown>> {
    return { ...super.fileConfig, vocab_size: this.tokens };
  }

  /** How many tokens it knows, learned ones included; their ids are smaller than this. */
  get tokens(): number {
    return this.tokenEmbedding.count;
  }

  /** Learns tokens: the table of embeddings grows by `embeddings`, `[tokens, hidden_size]`, which stay the caller's. */
  addTokenEmbeddings(embeddings: tf.Tensor): void {
    checkShape('token embeddings', embeddings.shape, [null, this.config.hidden_size]);
    this.graphs?.clear();
    this.tokenEmbedding.append(embeddings);
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => (this as CLIPTextModel).forward(Array.isArray(inputs) ? inputs[0] : inputs).lastHiddenState);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return this.tokenEmbedding.computeOutputShape(super.computeOutputShape(inputShape));
  }
}

function completeConfig(config: object): CLIPTextConfig {
  const { text_config: nested } = config as { text_config?: unknown };
  return isObject(nested) ? mergeConfig('text encoder config', NESTED_KEYS, nested) : mergeConfig('text encoder config', KEYS, config);
}
