import * as tf from '@tensorflow/tfjs';
import { denormalize, Image } from '../../image/image.js';
import type { AttentionSlice } from '../../layers/multi_head_attention.js';
import { denormalizeLatents, type Autoencoder } from '../../models/autoencoder.js';
import type { Denoiser } from '../../models/denoiser.js';
import type { Model } from '../../models/model.js';
import { DiffusionPipeline } from './diffusion_pipeline.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import { countNaN, explainPicture, NotANumberError } from '../run/not_a_number.js';
import { whichAreOn, type MemorySaver } from '../run/out_of_memory.js';

/** A pipeline that denoises what an autoencoder makes pictures of. */
export abstract class LatentDiffusionPipeline extends DiffusionPipeline {
  abstract vae: Autoencoder;
  private warnedOfNaN = false;

  abstract get denoiser(): Denoiser;

  /** The networks that run at each step: the denoiser, and what steers it. */
  protected get denoisers(): ReadonlyArray<Model<unknown>> {
    return [this.denoiser];
  }

  /** What the pipeline calls one of its networks. */
  nameOf(network: Model<unknown>): string {
    return Object.entries(this.components).find(([, component]) => component === network)![0];
  }

  /** Pixels per latent, along each side. */
  get vaeScaleFactor(): number {
    return this.vae.scaleFactor;
  }

  /**
   * Attention in smaller chunks, for less memory: half of the heads at a time (`auto`), one (`max`) or a number of them.
   * Changes no result.
   */
  enableAttentionSlicing(slice: Exclude<AttentionSlice, null> = 'auto'): void {
    this.denoisers.forEach(network => network.setAttentionSlice(slice));
  }

  /** Attention in the chunks that are fastest. */
  disableAttentionSlicing(): void {
    this.denoisers.forEach(network => network.setAttentionSlice(null));
  }

  /** Decodes one image of a batch after the other, for less memory. Changes no result. */
  enableVaeSlicing(): void {
    this.vae.enableSlicing();
  }

  /** Decodes a batch at once. */
  disableVaeSlicing(): void {
    this.vae.disableSlicing();
  }

  /** Decodes images that are larger than the autoencoder was trained on in tiles, which blend; see AutoencoderKL.enableTiling. */
  enableVaeTiling(): void {
    this.vae.enableTiling();
  }

  /** Decodes images of any size whole. */
  disableVaeTiling(): void {
    this.vae.disableTiling();
  }

  override get memorySavers(): ReadonlySet<MemorySaver> {
    return new Set([...super.memorySavers, ...whichAreOn({
      enableAttentionSlicing: this.denoiser.attentionSlice !== null,
      enableVaeSlicing: this.vae.usesSlicing,
      enableVaeTiling: this.vae.usesTiling,
    })]);
  }

  /** Records the decoder for latents of that shape before its turn. */
  protected recordDecoder(latentShape: readonly number[]): void {
    this.recordAhead(`decode ${latentShape}`, () => this.vae.decode(tf.zeros([...latentShape])));
  }

  /** What the VAE decodes, of latents as they are denoised. */
  protected toVaeLatents(latents: tf.Tensor): tf.Tensor {
    return denormalizeLatents(this.vae, latents);
  }

  /** Latents (taken over) -> what was asked for. */
  protected async toOutput(
    latents: tf.Tensor, { outputType, detectAnomaly }: Pick<GenerateRequest, 'outputType' | 'detectAnomaly'>,
  ): Promise<Image[] | tf.Tensor> {
    if (outputType === 'latent') return latents;
    let pixels: tf.Tensor | undefined;
    try {
      pixels = tf.tidy(() => denormalize(this.vae.decode(this.toVaeLatents(latents))));
      if (detectAnomaly) {
        const count = await countNaN(pixels);
        if (count > 0) throw new NotANumberError(await explainPicture(count, latents, this));
      }
      if (outputType === 'tensor') return pixels.clone();
      let count = 0;
      const images = await Image.fromTensor(pixels, found => { count = found; });
      if (count > 0 && !this.warnedOfNaN) {
        this.warnedOfNaN = true;
        console.warn(await explainPicture(count, latents, this));
      }
      return images;
    } finally {
      tf.dispose([latents, pixels ?? []]);
    }
  }
}
