import { join } from 'node:path';
import { packageFolder } from '../package.js';
import { DiffusionPipeline } from '../pipelines/diffusion_pipeline.js';
import { useDevice } from '../runtime/devices.js';
import { DownloadBar } from './download_bar.js';
import { LoadingBar } from './loading_bar.js';

export interface CompileCommandOptions {
  model?: string;
  revision?: string;
  variant?: string;
  predictionType?: 'epsilon' | 'v_prediction';
  dtype: 'float32' | 'float16' | 'bfloat16';
  sizes?: Array<{ width: number; height: number }>;
  batch: number[];
  guidance: boolean;
  gpuMemoryFraction?: number;
  quiet?: boolean;
}

/** `tfjs-diffusers compile`: a picture of one step for each size and batch, which waits for XLA. */
export async function compile({ sizes = [{}] as never, batch, guidance, gpuMemoryFraction, quiet, ...options }: CompileCommandOptions): Promise<void> {
  const say = quiet ? () => undefined : console.log;
  const device = await useDevice('cuda', { memoryFraction: gpuMemoryFraction });
  const model = options.model ?? join(packageFolder(), 'models', 'shapes');
  const download = new DownloadBar(model, say, quiet);
  const loading = new LoadingBar(quiet);
  const pipe = await DiffusionPipeline.fromPretrained(model, {
    ...options, device, compile: false,
    progressCallback: progress => { if (progress.stage === 'download') download.update(progress); else loading.update(progress); },
  }).finally(() => [download, loading].forEach(bar => bar.stop()));
  try {
    pipe.setProgressBarConfig({ disable: true });
    pipe.compile({ wait: true });
    for (const size of sizes) {
      for (const numImagesPerPrompt of batch) {
        const started = performance.now();
        const { images } = await pipe.generate('', { ...size, numImagesPerPrompt, numInferenceSteps: 1, guidanceScale: guidance ? 7.5 : 1 });
        const { width, height } = images[0];
        say(`${width}x${height}, ${numImagesPerPrompt} at once: compiled in ${((performance.now() - started) / 1000).toFixed(1)} s`);
      }
    }
  } finally {
    pipe.dispose();
  }
}
