import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkShape } from '../core/checks.js';
import type { Attention } from '../layers/attention.js';
import { imageProjection, type ImageProjectionConfig, type ImageTokens } from '../layers/image_projection.js';
import type { IPAdapterAttention } from '../layers/ip_adapter_attention.js';

/** How strongly an adapter acts on the attention at a path: one number, or one for each picture, where these have masks. */
export type IPAdapterScaleOfPath = (path: string, adapter: number) => number | readonly number[];

/**
 * IP-Adapters for a UNet (arXiv:2308.06721): the projections that make tokens of pictures, and the keys and values by which the UNet's
 * attentions attend to them.
 * - Weights below `encoder_hid_proj.image_projection_layers.N` and, below each attention to the text, `processor`.
 * Equals diffusers' MultiIPAdapterImageProjection, and what IPAdapterAttnProcessor2_0 has.
 */
export class IPAdapters extends Block {
  static className = 'IPAdapters';
  readonly projections: readonly ImageTokens[];
  /** By the path of the attention that each belongs to. */
  readonly attentions: ReadonlyMap<string, IPAdapterAttention>;
  /** How strongly they act: for each attention and adapter one number, or one for each picture, in a row. */
  private scales: number[] = [];
  /** How many numbers there are for each adapter at an attention. */
  private counts: number[] = [];

  /** @param attentions of the UNet to the text, by their paths. */
  constructor(attentions: ReadonlyMap<string, Attention>, configs: readonly ImageProjectionConfig[]) {
    super();
    this.projections = this.addList('encoder_hid_proj.image_projection_layers', configs.length, i => imageProjection(configs[i]));
    this.attentions = new Map([...attentions].map(([path, attention]) =>
      [path, this.add(`${path}.processor`, attention.newIpAdapters(configs.length))]));
    this.setScales(() => 1);
  }

  /**
   * @param embeds for each adapter the image encoder's embeddings of its pictures: `[batch, pictures, features]`, or its states, `[batch,
   *   pictures, states, features]`.
   * @returns for each adapter `[batch, pictures, tokens, cross_attention_dim]`.
   */
  compute(embeds: readonly tf.Tensor[]): tf.Tensor[] {
    return this.projections.map((projection, i) => {
      const { inFeatures, readsStates } = projection;
      const { shape: [batch, pictures, ...rest] } = embeds[i];
      checkShape('imageEmbeds', embeds[i].shape, readsStates ? [null, null, null, inFeatures] : [null, null, inFeatures]);
      const tokens = projection.forward(tf.reshape(embeds[i], [batch * pictures!, ...rest]));
      return tf.reshape(tokens, [batch, pictures!, ...tokens.shape.slice(1)]);
    });
  }

  /** @returns whether the set of attentions with strength 0, which are left out, has changed. */
  setScales(scaleOf: IPAdapterScaleOfPath): boolean {
    const before = this.scales;
    this.scales = [];
    this.counts = this.projections.map(() => 1);
    for (const [path, attention] of this.attentions) {
      const own = this.projections.map((_, adapter) => [scaleOf(path, adapter)].flat());
      attention.setScales(own, this.scales.length);
      own.forEach(({ length }, adapter) => { this.counts[adapter] = Math.max(this.counts[adapter], length); });
      this.scales.push(...own.flat());
    }
    return before.length !== this.scales.length || before.some((scale, i) => (scale === 0) !== (this.scales[i] === 0));
  }

  /** As attentions take them. */
  scaleTensor(): tf.Tensor {
    return tf.tensor1d(this.scales);
  }

  /** For how many pictures of an adapter there are scales; 1 means one scale for any number of pictures. */
  scaleCount(adapter: number): number {
    return this.counts[adapter];
  }
}
