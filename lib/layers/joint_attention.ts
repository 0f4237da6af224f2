import * as tf from '@tensorflow/tfjs';
import { Linear } from './linear.js';
import { MultiHeadAttention } from './multi_head_attention.js';
import { RMSNorm } from './rms_norm.js';

export interface JointAttentionConfig {
  /** Features of both streams. */
  dim: number;
  heads: number;
  /** Whether the text has only keys and values, and no output. */
  contextPreOnly?: boolean;
  /** Whether queries and keys are normalized, each head's. */
  qkNorm?: boolean;
}

/** From a stream to the queries, keys and values of it. */
interface Stream {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly queryNorm?: RMSNorm;
  readonly keyNorm?: RMSNorm;
}

/**
 * Attention of an image and a text, each with weights of its own, to both of them.
 * - In: the image `[batch, patches, dim]`, the text `[batch, tokens, dim]`; out: the same, the text unless contextPreOnly.
 * - Weights below `to_q`, `to_k`, `to_v`, `to_out.0` of the image, `add_q_proj`, `add_k_proj`, `add_v_proj` and, unless contextPreOnly,
 *   `to_add_out` of the text; with qkNorm `norm_q`, `norm_k`, `norm_added_q`, `norm_added_k`.
 * Equals diffusers' Attention with JointAttnProcessor2_0 (arXiv:2403.03206).
 */
export class JointAttention extends MultiHeadAttention {
  static className = 'JointAttention';
  private readonly image: Stream;
  private readonly text: Stream;
  private readonly toOut: Linear;
  private readonly toAddOut?: Linear;

  constructor({ dim, heads, contextPreOnly = false, qkNorm = false }: JointAttentionConfig) {
    super(heads);
    const linear = (name: string) => this.add(name, new Linear(dim, dim));
    const norm = (name: string) => qkNorm ? this.add(name, new RMSNorm(dim / heads)) : undefined;
    this.image = {
      query: linear('to_q'), key: linear('to_k'), value: linear('to_v'), queryNorm: norm('norm_q'), keyNorm: norm('norm_k'),
    };
    this.text = {
      query: linear('add_q_proj'), key: linear('add_k_proj'), value: linear('add_v_proj'),
      queryNorm: norm('norm_added_q'), keyNorm: norm('norm_added_k'),
    };
    this.toOut = linear('to_out.0');
    if (!contextPreOnly) this.toAddOut = linear('to_add_out');
  }

  /** @param goesOn whether an output for the text is wanted; otherwise the text has no queries. */
  compute(image: tf.Tensor, text: tf.Tensor, goesOn = true): { image: tf.Tensor; text?: tf.Tensor } {
    const { toAddOut } = this;
    const both = (project: (x: tf.Tensor, stream: Stream) => tf.Tensor) =>
      tf.tidy(() => tf.concat([project(image, this.image), project(text, this.text)], 1));
    const query = (x: tf.Tensor, stream: Stream) => this.normHeads(stream.query.forward(x), stream.queryNorm);
    const key = (x: tf.Tensor, stream: Stream) => this.normHeads(stream.key.forward(x), stream.keyNorm);
    const value = (x: tf.Tensor, stream: Stream) => stream.value.forward(x);
    const isJoint = goesOn && toAddOut !== undefined;
    const heads = [isJoint ? both(query) : tf.tidy(() => query(image, this.image)), both(key), both(value)];
    const attended = this.attend(heads[0], heads[1], heads[2]);
    tf.dispose(heads);
    if (!isJoint) return { image: this.toOut.forward(attended) };
    const [batch, patches, dim] = image.shape;
    const [ofImage, ofText] = [tf.slice(attended, 0, [batch, patches, dim]), tf.slice(attended, [0, patches, 0])];
    attended.dispose();
    return { image: this.toOut.forward(ofImage), text: toAddOut.forward(ofText) };
  }
}
