import { join } from 'node:path';
import { packageFolder } from '../core/package.js';
import { DiffusionPipeline } from '../pipelines/index.js';
import type { FromPretrainedOptions } from '../pipelines/components/load_components.js';
import type { Text2ImagePipeline } from '../pipelines/auto_pipeline.js';
import { DownloadBar } from './download_bar.js';
import { LoadingBar } from './loading_bar.js';

export const DEMO_MODEL = join(packageFolder(), 'models', 'shapes');

interface Loading {
  /** No bars. */
  quiet?: boolean;
  say: (text: string) => void;
  /** By default the class that the model names. */
  Pipeline?: Pick<typeof DiffusionPipeline, 'fromPretrained'>;
}

/** Loads what --model names, with bars for what is fetched and read. */
export async function loadPipeline(
  model: string, options: FromPretrainedOptions, { quiet, say, Pipeline = DiffusionPipeline }: Loading,
): Promise<Text2ImagePipeline> {
  const download = new DownloadBar(model, say, quiet);
  const loading = new LoadingBar(quiet);
  return Pipeline.fromPretrained(model, {
    ...options,
    progressCallback: progress => { if (progress.stage === 'download') download.update(progress); else loading.update(progress); },
  }).finally(() => [download, loading].forEach(bar => bar.stop()));
}
