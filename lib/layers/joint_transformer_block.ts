import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { geluTanh } from './activations.js';
import { AdaLayerNormContinuous, addGated, AdaLayerNormZero, modulatedNorm, type ZeroModulations } from './ada_layer_norm.js';
import { Attention } from './attention.js';
import { FeedForward } from './feed_forward.js';
import { JointAttention } from './joint_attention.js';

export interface JointTransformerBlockConfig {
  dim: number;
  heads: number;
  /** Whether there is no output for the text, as in the last block. */
  contextPreOnly?: boolean;
  /** Whether queries and keys are normalized. */
  qkNorm?: boolean;
  /** Whether the image has a second attention, to itself alone. */
  dualAttention?: boolean;
}

/** What a block takes and gives. */
export type JointStates = {
  /** `[batch, patches, dim]` */
  image: tf.Tensor;
  /** `[batch, tokens, dim]`; undefined after a block that has no output for the text. */
  text?: tf.Tensor;
};

/** `x` plus the feed-forward of it, normalized, as an embedding says. Frees `x`. */
function addFeedForward(x: tf.Tensor, ff: FeedForward, { gate, ...modulation }: ZeroModulations['feedForward']): tf.Tensor {
  const sum = tf.tidy(() => {
    const normalized = modulatedNorm(x, modulation);
    const made = ff.forward(normalized);
    normalized.dispose();
    return addGated(x, gate, made);
  });
  x.dispose();
  return sum;
}

/**
 * An image and a text, each with weights of its own, that attend to both of them: attention and feed-forward, each normalized before and
 * added after as an embedding of time and text says.
 * - In: image `[batch, patches, dim]`, text `[batch, tokens, dim]`, embedding `[batch, dim]` to which SiLU was applied already; out: image
 *   and text.
 * - Weights below `norm1`, `norm1_context`, `attn`, `ff`; `attn2` with dualAttention; `ff_context` unless contextPreOnly.
 * Equals diffusers' JointTransformerBlock (arXiv:2403.03206).
 */
export class JointTransformerBlock extends Block {
  static className = 'JointTransformerBlock';
  private readonly norm1: AdaLayerNormZero;
  private readonly norm1Context: AdaLayerNormZero | AdaLayerNormContinuous;
  private readonly attn: JointAttention;
  private readonly attn2?: Attention;
  private readonly ff: FeedForward;
  private readonly ffContext?: FeedForward;

  constructor({ dim, heads, contextPreOnly = false, qkNorm = false, dualAttention = false }: JointTransformerBlockConfig) {
    super();
    this.norm1 = this.add('norm1', new AdaLayerNormZero(dim, dualAttention));
    this.norm1Context = this.add('norm1_context', contextPreOnly ? new AdaLayerNormContinuous(dim) : new AdaLayerNormZero(dim));
    this.attn = this.add('attn', new JointAttention({ dim, heads, contextPreOnly, qkNorm }));
    if (dualAttention) this.attn2 = this.add('attn2', new Attention({ queryDim: dim, heads, bias: true, qkNorm }));
    this.ff = this.add('ff', new FeedForward(dim, { activation: geluTanh }));
    if (!contextPreOnly) this.ffContext = this.add('ff_context', new FeedForward(dim, { activation: geluTanh }));
  }

  /** @param goesOn whether the output for the text is wanted, if the block has one. */
  compute({ image, text }: Required<JointStates>, embedding: tf.Tensor, goesOn = true): JointStates {
    const { normalized, gate, second, feedForward } = this.norm1.forward(image, embedding);
    const told = this.tellText(text, embedding);
    const attended = this.attn.forward(normalized, told.normalized, goesOn);
    tf.dispose([normalized, told.normalized]);
    let state = addGated(image, gate, attended.image);
    if (second) {
      const before = state;
      state = addGated(before, second.gate, this.attn2!.forward(second.normalized));
      tf.dispose([before, second.normalized]);
    }
    const made = addFeedForward(state, this.ff, feedForward);
    if (!attended.text) return { image: made };
    return { image: made, text: addFeedForward(addGated(text, told.gate!, attended.text), this.ffContext!, told.feedForward!) };
  }

  /** The text, normalized, and how the rest goes, if it does. */
  private tellText(text: tf.Tensor, embedding: tf.Tensor): Pick<ZeroModulations, 'normalized'> & Partial<ZeroModulations> {
    const { norm1Context: norm } = this;
    return norm instanceof AdaLayerNormZero ? norm.forward(text, embedding) : { normalized: norm.forward(text, embedding) };
  }
}

/**
 * The same for an image alone: attention to itself, and feed-forward.
 * - In and out: `[batch, patches, dim]`; embedding `[batch, dim]` to which SiLU was applied already.
 * - Weights below `norm1`, `attn`, `ff`.
 * Equals diffusers' SD3SingleTransformerBlock.
 */
export class SD3SingleTransformerBlock extends Block {
  static className = 'SD3SingleTransformerBlock';
  private readonly norm1: AdaLayerNormZero;
  private readonly attn: Attention;
  private readonly ff: FeedForward;

  constructor({ dim, heads }: Pick<JointTransformerBlockConfig, 'dim' | 'heads'>) {
    super();
    this.norm1 = this.add('norm1', new AdaLayerNormZero(dim));
    this.attn = this.add('attn', new Attention({ queryDim: dim, heads, bias: true }));
    this.ff = this.add('ff', new FeedForward(dim, { activation: geluTanh }));
  }

  compute(image: tf.Tensor, embedding: tf.Tensor): tf.Tensor {
    const { normalized, gate, feedForward } = this.norm1.forward(image, embedding);
    const attended = this.attn.forward(normalized);
    normalized.dispose();
    return addFeedForward(addGated(image, gate, attended), this.ff, feedForward);
  }
}
