import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import type { Operand } from '../core/packed_tensor.js';
import { narrow, widen } from '../core/precision.js';
import type { Activation } from '../layers/activations.js';
import { Embedding } from '../layers/embedding.js';
import { Linear } from '../layers/linear.js';
import { RMSNorm } from '../layers/rms_norm.js';
import { scaledDotProductAttention } from '../layers/scaled_dot_product_attention.js';
import { relativePositionBuckets } from './t5_buckets.js';
import { readFeedForward, type T5Config } from './t5_config.js';

/**
 * Attention to the own text, then an MLP, each normalized before and added after.
 * - In and out: `[batch, tokens, d_model]`, true float32: in float16 what is added up would soon be infinite.
 * Equals transformers' T5Block of an encoder.
 */
export class T5Block extends Block {
  static className = 'T5Block';
  private readonly attention: T5LayerSelfAttention;
  private readonly feedForward: T5LayerFF;

  /** @param options `positions`: whether it has the positions' bias of all blocks. */
  constructor(config: T5Config, options: { positions: boolean }) {
    super();
    this.attention = this.add('layer.0', new T5LayerSelfAttention(config, options));
    this.feedForward = this.add('layer.1', new T5LayerFF(config));
  }

  /** What positions add to scores, `[heads, tokens, tokens]`: of the block that has it. */
  positionBias(tokens: number): tf.Tensor {
    return this.attention.selfAttention.positionBias(tokens);
  }

  compute(x: tf.Tensor, positionBias: tf.Tensor): tf.Tensor {
    return this.feedForward.forward(this.attention.forward(x, positionBias));
  }
}

/** Takes float32 and gives what its weights are. Equals transformers' T5LayerNorm. */
export class T5LayerNorm extends RMSNorm {
  static override className = 'T5LayerNorm';

  override compute(x: tf.Tensor): tf.Tensor {
    return narrow(super.compute(x), this.parameter('weight'));
  }
}

/** Equals transformers' T5LayerSelfAttention. */
class T5LayerSelfAttention extends Block {
  static className = 'T5LayerSelfAttention';
  readonly selfAttention: T5Attention;
  private readonly layerNorm: T5LayerNorm;

  constructor(config: T5Config, options: { positions: boolean }) {
    super();
    this.selfAttention = this.add('SelfAttention', new T5Attention(config, options));
    this.layerNorm = this.add('layer_norm', new T5LayerNorm(config.d_model, config.layer_norm_epsilon));
  }

  compute(x: tf.Tensor, positionBias: tf.Tensor): tf.Tensor {
    return tf.add(x, widen(this.selfAttention.forward(this.layerNorm.forward(x), positionBias)));
  }
}

/** Its scores are not scaled. Equals transformers' T5Attention. */
class T5Attention extends Block {
  static className = 'T5Attention';
  private readonly projections: Linear[];
  private readonly out: Linear;
  private readonly bias?: Embedding;

  constructor(private readonly config: T5Config, { positions }: { positions: boolean }) {
    super();
    const { d_model, d_kv, num_heads, relative_attention_num_buckets } = config;
    const inner = num_heads * d_kv;
    this.projections = ['q', 'k', 'v'].map(name => this.add(name, new Linear(d_model, inner, { bias: false })));
    this.out = this.add('o', new Linear(inner, d_model, { bias: false }));
    if (positions) this.bias = this.add('relative_attention_bias', new Embedding(relative_attention_num_buckets, num_heads));
  }

  positionBias(tokens: number): tf.Tensor {
    const { relative_attention_num_buckets: buckets, relative_attention_max_distance: maxDistance } = this.config;
    return tf.tidy(() => {
      const indices = tf.tensor(relativePositionBuckets(tokens, buckets, maxDistance), [tokens, tokens], 'int32');
      return tf.transpose(this.bias!.forward(indices), [2, 0, 1]);
    });
  }

  compute(x: tf.Tensor, positionBias: tf.Tensor): tf.Tensor {
    const [query, key, value] = this.projections.map(projection => projection.forward(x));
    const options = { heads: this.config.num_heads, mask: positionBias, scale: 1 };
    return this.out.forward(scaledDotProductAttention(query, key, value, options));
  }
}

/** Equals transformers' T5LayerFF. */
class T5LayerFF extends Block {
  static className = 'T5LayerFF';
  private readonly dense: T5Dense;
  private readonly layerNorm: T5LayerNorm;

  constructor(config: T5Config) {
    super();
    this.dense = this.add('DenseReluDense', new T5Dense(config));
    this.layerNorm = this.add('layer_norm', new T5LayerNorm(config.d_model, config.layer_norm_epsilon));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return tf.add(x, this.dense.forward(this.layerNorm.forward(x)));
  }
}

/** Equals transformers' T5DenseActDense and T5DenseGatedActDense. */
class T5Dense extends Block {
  static className = 'T5Dense';
  private readonly gate: Linear;
  private readonly linear?: Linear;
  private readonly out: WideLinear;
  private readonly activation: Activation;

  constructor({ d_model, d_ff, feed_forward_proj }: T5Config) {
    super();
    const { gated, activation } = readFeedForward(feed_forward_proj);
    const addIn = (name: string) => this.add(name, new Linear(d_model, d_ff, { bias: false }));
    this.activation = activation;
    this.gate = addIn(gated ? 'wi_0' : 'wi');
    if (gated) this.linear = addIn('wi_1');
    this.out = this.add('wo', new WideLinear(d_ff, d_model, { bias: false }));
  }

  compute(x: tf.Tensor): tf.Tensor {
    const activated = this.activation(this.gate.forward(x));
    return this.out.forward(this.linear ? tf.mul(activated, this.linear.forward(x)) : activated);
  }
}

/** Computes in float32 and gives that: its weights, if they are halves, are widened while it runs, which takes no memory for good. */
class WideLinear extends Linear {
  static override className = 'WideLinear';

  override compute(x: tf.Tensor): tf.Tensor {
    return super.compute(widen(x));
  }

  protected override operand(name: string): Operand {
    const weight = super.operand(name);
    return weight instanceof tf.Tensor ? widen(weight) : weight;
  }
}
