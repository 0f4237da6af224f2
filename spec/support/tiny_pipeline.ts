import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Generator } from '../../lib/core/random.js';
import { Image } from '../../lib/image/image.js';
import { expectClose, type Values } from './close.js';

/** A random pipeline of 16 x 16 pixels in diffusers' folder layout, made by golden/parts/pipelines.py. */
export const TINY = 'spec/golden/pipelines/tiny';
/** A UNet for it that takes 9 channels. */
export const TINY_INPAINT_UNET = 'spec/golden/pipelines/unet_inpaint';

/** A random Stable Diffusion XL of 16 x 16 pixels, made by golden/parts/sdxl.py, and UNets for it. */
export const TINY_XL = 'spec/golden/pipelines/tiny_xl';
export const TINY_XL_UNETS = { refiner: 'spec/golden/pipelines/unet_xl_refiner', nine: 'spec/golden/pipelines/unet_xl_nine' };

/** A random Stable Diffusion 3 of 16 x 16 pixels, made by golden/parts/sd3.py, and a transformer for it that sees masks. */
export const TINY_SD3 = 'spec/golden/pipelines/tiny_sd3';
export const TINY_SD3_MASKED = 'spec/golden/pipelines/transformer_sd3_masked';

/** A random ControlNet-Union for Stable Diffusion XL, made by golden/parts/controlnet_union.py. */
export const TINY_UNION = 'spec/golden/pipelines/controlnet_union';

/** The tiny model with a refiner's UNet and one text encoder, as a folder. */
export function refinerFolder(path: string, changes: object = {}): string {
  cpSync(TINY_XL, path, { recursive: true });
  for (const part of ['text_encoder', 'tokenizer', 'unet']) rmSync(join(path, part), { recursive: true });
  cpSync(TINY_XL_UNETS.refiner, join(path, 'unet'), { recursive: true });
  const index = JSON.parse(readFileSync(join(path, 'model_index.json'), 'utf8'));
  writeFileSync(join(path, 'model_index.json'), JSON.stringify({
    ...index, _class_name: 'StableDiffusionXLImg2ImgPipeline', text_encoder: [null, null], tokenizer: [null, null], force_zeros_for_empty_prompt: false,
    requires_aesthetics_score: true, ...changes,
  }));
  return path;
}

/** A tiny model with other parts, `{ unet: 'spec/golden/pipelines/unet_edit' }`, and what its model_index.json says of them, as a folder. */
export function folderWith(path: string, parts: Record<string, string>, index: object, tiny = TINY): string {
  cpSync(tiny, path, { recursive: true });
  for (const [part, folder] of Object.entries(parts)) {
    rmSync(join(path, part), { recursive: true });
    cpSync(folder, join(path, part), { recursive: true });
  }
  const own = JSON.parse(readFileSync(join(path, 'model_index.json'), 'utf8'));
  writeFileSync(join(path, 'model_index.json'), JSON.stringify({ ...own, ...index }));
  return path;
}

/** Options of a case in the words of golden/parts/pipelines.py. */
export interface PipelineCase {
  seeds: number | number[];
  steps: number;
  strength?: number;
  scheduler?: [name: string, overrides: object];
  guidance_scale?: number;
  guidance_rescale?: number;
  negative_prompt?: string | string[];
  num_images_per_prompt?: number;
  clip_skip?: number;
  height?: number;
  width?: number;
  as_tensor?: 'pixels' | 'latents';
  unet?: string;
}

/** Of pipelines that ControlNets steer. */
export interface ControlCase extends Omit<PipelineCase, 'scheduler'> {
  nets?: number;
  pictures?: number;
  scale?: number | number[];
  start?: number | number[];
  end?: number | number[];
  guess_mode?: boolean;
}

export const seeded = (seed: number): Generator => new Generator('cpu').manualSeed(seed);

/** What is given, so that defaults are where nothing is. */
export const defined = <T extends object>(options: T) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;

/** The options that all pipelines have, in our words. */
export function commonOptions(options: Omit<PipelineCase, 'scheduler'>) {
  return {
    generator: Array.isArray(options.seeds) ? options.seeds.map(seeded) : seeded(options.seeds),
    numInferenceSteps: options.steps,
    guidanceScale: options.guidance_scale,
    guidanceRescale: options.guidance_rescale,
    negativePrompt: options.negative_prompt,
    numImagesPerPrompt: options.num_images_per_prompt,
    clipSkip: options.clip_skip,
    outputType: 'latent' as const,
  };
}

/** Pictures out of `[images, height, width, 3]` bytes. */
export function goldenImages({ data, shape: [count, height, width] }: Values): Image[] {
  const size = height * width * 3;
  return Array.from({ length: count }, (_, i) => new Image(Uint8Array.from(data).slice(i * size, (i + 1) * size), width, height));
}

/** Pictures are those of `[images, height, width, 3]` bytes, but for rounding. */
export function expectImages(images: readonly Image[], expected: Values): void {
  const { shape } = expected;
  assert.deepEqual([images.length, images[0].height, images[0].width, 3], [...shape]);
  expectClose({ shape, data: images.flatMap(image => [...image.data]) }, expected, { atol: 2, rtol: 0 });
}

/** `[images, height, width, 3]` bytes as a tensor within [0, 1]. */
export function goldenPixels({ data, shape }: Values): tf.Tensor {
  return tf.tidy(() => tf.tensor(Float32Array.from(data), [...shape]).div(255));
}
