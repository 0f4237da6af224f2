import type * as tf from '@tensorflow/tfjs';
import type { FreeUOptions } from '../../layers/free_u.js';
import type { TokenMergingOptions } from '../../layers/token_merging.js';
import { getGuidanceScaleEmbedding } from '../../layers/timestep_embedding.js';
import type { ControlNets } from '../../models/controlnets.js';
import { checkDeepCache, DeepCache, type DeepCacheOptions } from '../../models/deep_cache.js';
import type { Model } from '../../models/model.js';
import { blurs } from '../../models/unet_2d_condition_config.js';
import type { UNet2DConditionModel } from '../../models/unet_2d_condition_model.js';
import type { UNetConditions } from '../../models/unet_down_path.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import type { UNetSteering } from '../inputs/steering.js';
import type { DenoisingStart } from '../run/denoise.js';
import { GuidedPipeline, lastTexts, type EncodedTexts, type Predictor } from './guided_pipeline.js';

/** A pipeline whose UNet denoises: what it is told at each step, and how it can be made to run faster or otherwise. */
export abstract class UNetPipeline extends GuidedPipeline {
  abstract unet: UNet2DConditionModel;
  /** What the names of the family's pipelines begin with. */
  abstract readonly familyName: string;
  /** What steers the UNet, in pipelines that have something. */
  controlnet?: ControlNets;
  protected deepCacheOptions?: Required<DeepCacheOptions>;

  override get denoiser(): UNet2DConditionModel {
    return this.unet;
  }

  override get takesNegativePrompt(): boolean {
    return !this.unet.takesGuidance;
  }

  protected override get denoisers(): ReadonlyArray<Model<unknown>> {
    return this.controlnet ? [this.unet, this.controlnet] : [this.unet];
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

  protected override predictor(
    text: EncodedTexts, { timesteps, wholeSteps = timesteps.length }: DenoisingStart, request: GenerateRequest, steering?: UNetSteering,
  ): Predictor {
    const { guidanceScale, timeIds, classLabels, latentShape: [images] } = request;
    const { time_cond_proj_dim: conditionDim } = this.unet.config; // of models that were distilled with guidance, and are told its scale
    const deepCache = this.deepCacheOptions && new DeepCache(timesteps, this.deepCacheOptions);
    const { wanted = [], avoided = [] } = timeIds ?? {};
    const rows = (ids: readonly number[], times: number) => Array<readonly number[]>(times * images).fill(ids);
    const predict = (sample: tf.Tensor, timestep: number, index: number) => {
      const ofScale = conditionDim === null || text.timestepCond ? undefined : getGuidanceScaleEmbedding([guidanceScale], conditionDim);
      const guidance = this.guidanceAt(index, timesteps, request);
      const { times, perturbedLayers: layers } = guidance;
      const seen = guidance.spread(sample);
      const texts = guidance === request.guidance ? text : lastTexts(text, images);
      const { encoderHiddenStates, textEmbeds, imagePrompts, timestepCond = ofScale } = texts;
      const addedCondKwargs = textEmbeds && {
        textEmbeds, timeIds: [...rows(avoided, guidance.avoided), ...rows(wanted, times - guidance.avoided)],
      };
      const conditions: UNetConditions = { encoderHiddenStates, addedCondKwargs, timestepCond, classLabels };
      const place = { timestep, index, steps: timesteps.length, wholeSteps };
      const additions = steering?.add({ ...place, sample: seen, conditions, guidance });
      const perturbed = layers && { layers, samples: images };
      const predictions = this.unet.forward(seen, timestep, { ...conditions, ...additions, imagePrompts, deepCache, perturbed });
      return guidance.combine(predictions, timestep);
    };
    return { predict, dispose: () => deepCache?.dispose() };
  }
}
