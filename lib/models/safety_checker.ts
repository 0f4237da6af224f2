import * as tf from '@tensorflow/tfjs';
import { checkShape, show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { widen } from '../core/precision.js';
import { Linear } from '../layers/linear.js';
import { completeVisionConfig, type CLIPVisionConfig } from './clip_vision_config.js';
import { CLIPVisionTransformer } from './clip_vision_model.js';
import { mergeConfig, whole } from './config.js';
import { Model } from './model.js';

/** What `safety_checker/config.json` says, that of a whole CLIP. The defaults are transformers'. */
export interface SafetyCheckerConfig {
  /** Features in which pictures and concepts are compared. */
  projection_dim: number;
  vision_config: CLIPVisionConfig;
}

/** What the safety checker computes. */
export type SafetyCheckerOutput = {
  /** How near pictures are to each of the concepts: cosines, `[batch, 17]`. */
  concepts: tf.Tensor;
  /** How near to each that calls for special care, `[batch, 3]`. */
  specialCare: tf.Tensor;
};

const CONCEPTS = 17;
const SPECIAL_CONCEPTS = 3;
/** How much nearer a picture counts as soon as it calls for special care. */
const CARE = 0.01;

/**
 * Finds pictures that may not be safe for work, by how near CLIP sees them to some concepts.
 * - Weights below `vision_model`, `visual_projection.weight`, `concept_embeds`, `special_care_embeds` and of each `..._weights`, the
 *   cosines from which on a picture counts as near.
 * Equals diffusers' StableDiffusionSafetyChecker.
 */
export class StableDiffusionSafetyChecker extends Model<SafetyCheckerConfig> {
  static className = 'StableDiffusionSafetyChecker';
  protected override readonly modelType = 'clip';
  private readonly visionModel: CLIPVisionTransformer;
  private readonly visualProjection: Linear;

  constructor(config: Partial<Omit<SafetyCheckerConfig, 'vision_config'>> & { vision_config?: Partial<CLIPVisionConfig> | null } = {}) {
    super(completeConfig(config));
    const { projection_dim: features, vision_config: vision } = this.config;
    this.visionModel = this.add('vision_model', new CLIPVisionTransformer('safety checker config: vision_config', vision));
    this.visualProjection = this.add('visual_projection', new Linear(vision.hidden_size, features, { bias: false }));
    this.addParameter('concept_embeds', [CONCEPTS, features]);
    this.addParameter('special_care_embeds', [SPECIAL_CONCEPTS, features]);
    this.addParameter('concept_embeds_weights', [CONCEPTS]);
    this.addParameter('special_care_embeds_weights', [SPECIAL_CONCEPTS]);
  }

  /**
   * @param pixels `[batch, image_size, image_size, num_channels]`, as CLIPImageProcessor gives them.
   * @returns float32 whatever the weights are; the caller disposes it.
   */
  compute(pixels: tf.Tensor): SafetyCheckerOutput {
    const { image_size: size, num_channels } = this.config.vision_config;
    checkShape('safety checker pixels', pixels.shape, [null, size, size, num_channels]);
    const [concepts, specialCare] = this.graphOfMany('check', pixels => {
      const pooled = this.visionModel.pool(this.visionModel.forward(pixels).at(-1)!);
      const embeds = normalized(this.visualProjection.forward(pooled));
      return ['concept_embeds', 'special_care_embeds'].map(name => tf.matMul(embeds, normalized(this.parameter(name)), false, true));
    }, pixels);
    return { concepts, specialCare };
  }

  /** Whether each of the pictures may not be safe for work; `pixels` as of `compute`. */
  async detect(pixels: tf.Tensor): Promise<boolean[]> {
    const [concepts, specialCare] = tf.tidy(() => {
      const cosines = (this as StableDiffusionSafetyChecker).forward(pixels);
      const above = (x: tf.Tensor, name: string) => tf.sub(x, widen(this.parameter(name)));
      return [above(cosines.concepts, 'concept_embeds_weights'), above(cosines.specialCare, 'special_care_embeds_weights')];
    });
    const [far, special] = await Promise.all([concepts.data(), specialCare.data()]).finally(() => tf.dispose([concepts, specialCare]));
    const rows = (values: ArrayLike<number>, i: number, count: number) => Array.from(values).slice(i * count, (i + 1) * count);
    return Array.from({ length: pixels.shape[0] }, (_, i) => {
      const care = rows(special, i, SPECIAL_CONCEPTS).some(isAbove) ? CARE : 0;
      return rows(far, i, CONCEPTS).some(score => isAbove(score + care));
    });
  }
}

/** Whether a number is above 0 in three decimals, as which diffusers looks at it. */
function isAbove(score: number): boolean {
  return score * 1000 > 0.5;
}

function normalized(x: tf.Tensor): tf.Tensor {
  const wide = widen(x);
  return tf.div(wide, tf.maximum(tf.sqrt(tf.sum(tf.square(wide), -1, true)), 1e-12));
}

function completeConfig(config: object): SafetyCheckerConfig {
  const name = 'safety checker config';
  const { vision_config: vision } = config as { vision_config?: unknown };
  if (vision !== undefined && vision !== null && !isObject(vision)) {
    throw new TypeError(`${name}: vision_config: got ${show(vision)}, takes an object`);
  }
  const { projection_dim } = mergeConfig<{ projection_dim: number }>(name, { projection_dim: whole(512) }, config);
  return { projection_dim, vision_config: completeVisionConfig(`${name}: vision_config`, vision ?? {}) };
}
