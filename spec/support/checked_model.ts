import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TINY } from './tiny_pipeline.js';

export const SAFETY_CHECKER = 'spec/golden/pipelines/safety_checker';

/** The small model with a safety checker beside it, in a new folder within `parent`. */
export function checkedModel(parent: string): string {
  const folder = join(parent, 'checked');
  cpSync(TINY, folder, { recursive: true });
  for (const part of ['safety_checker', 'feature_extractor']) cpSync(SAFETY_CHECKER, join(folder, part), { recursive: true });
  writeFileSync(join(folder, 'feature_extractor/preprocessor_config.json'), JSON.stringify({ size: 14, crop_size: 12 }));
  const index = JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8'));
  writeFileSync(join(folder, 'model_index.json'), JSON.stringify({
    ...index, safety_checker: ['stable_diffusion', 'StableDiffusionSafetyChecker'], feature_extractor: ['transformers', 'CLIPFeatureExtractor'],
  }));
  return folder;
}
