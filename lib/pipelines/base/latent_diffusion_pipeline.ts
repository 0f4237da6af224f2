import * as tf from '@tensorflow/tfjs';
import { denormalize, Image } from '../../image/image.js';
import type { FreeUOptions } from '../../layers/free_u.js';
import type { AttentionSlice } from '../../layers/multi_head_attention.js';
import type { TokenMergingOptions } from '../../layers/token_merging.js';
import { denormalizeLatents, type Autoencoder } from '../../models/autoencoder.js';
import { checkDeepCache, type DeepCacheOptions } from '../../models/deep_cache.js';
import type { Model } from '../../models/model.js';
import type { ControlNets } from '../../models/controlnets.js';
import { blurs } from '../../models/unet_2d_condition_config.js';
import type { UNet2DConditionModel } from '../../models/unet_2d_condition_model.js';
import { DiffusionPipeline } from './diffusion_pipeline.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import { countNaN, explainPicture, NotANumberError } from '../run/not_a_number.js';
import { whichAreOn, type MemorySaver } from '../run/out_of_memory.js';

/** A pipeline whose UNet denoises what an autoencoder makes pictures of. */
export abstract class LatentDiffusionPipeline extends DiffusionPipeline {
  abstract unet: UNet2DConditionModel;
  abstract vae: Autoencoder;
  /** What steers the UNet, in pipelines that have something. */
  controlnet?: ControlNets;
  protected deepCacheOptions?: Required<DeepCacheOptions>;
  private warnedOfNaN = false;

  /** The networks that run at each step. */
  protected get denoisers(): ReadonlyArray<Model<unknown>> {
    return this.controlnet ? [this.unet, this.controlnet] : [this.unet];
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
      enableAttentionSlicing: this.unet.attentionSlice !== null,
      enableVaeSlicing: this.vae.usesSlicing,
      enableVaeTiling: this.vae.usesTiling,
    })]);
  }

  /**
   * Runs all of the UNet at every third step only, and at those between its outermost layers alone, for more than twice the speed and a
   * little less detail; see DeepCache. An approximation.
   * @throws RangeError for numbers that do not fit the UNet, Error where a ControlNet steers its deep layers, or it has K blocks.
   */
  enableDeepCache(options: DeepCacheOptions = {}): void {
    if (this.controlnet) {
      throw new Error('enableDeepCache: does not go together with a ControlNet, which steers the deep layers anew at each step');
    }
    if (blurs(this.unet.config)) {
      throw new Error("enableDeepCache: does not go together with k-diffusion's blocks, whose way up joins only some of the states");
    }
    this.deepCacheOptions = checkDeepCache(options, this.unet.skipConnections);
  }

  /** Runs all of the UNet at every step. */
  disableDeepCache(): void {
    this.deepCacheOptions = undefined;
  }

  /**
   * Merges the parts of the picture that are most alike while the UNet attends to them; see TokenMergingOptions. Pays for large pictures.
   * An approximation.
   */
  enableTokenMerging(options: TokenMergingOptions = {}): void {
    this.unet.setTokenMerging(options);
  }

  /** Attends to all of the picture. */
  disableTokenMerging(): void {
    this.unet.setTokenMerging(null);
  }

  /**
   * Weighs what the UNet joins on its way up: more of what it made itself, less of the slow waves of what comes from the way down. For
   * clearer pictures, by numbers that are to be found for each model; see FreeUOptions.
   * @throws RangeError for numbers that are not above 0.
   */
  enableFreeu(options: FreeUOptions): void {
    this.unet.setFreeU(options);
  }

  /** Joins all as it is. */
  disableFreeu(): void {
    this.unet.setFreeU(null);
  }

  /** Records the decoder for latents of that shape before its turn. */
  protected recordDecoder(latentShape: readonly number[]): void {
    this.recordAhead(`decode ${latentShape}`, () => this.vae.decode(tf.zeros([...latentShape])));
  }

  /** What the VAE decodes, of latents as the UNet knows them. */
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
