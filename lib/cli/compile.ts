import type { PredictionType } from '../checkpoints/ldm_config.js';
import type { FloatDtype } from '../core/float16.js';
import { useDevice } from '../runtime/devices.js';
import { leftOut } from './left_out.js';
import { DEMO_MODEL, loadPipeline } from './load_pipeline.js';

export interface CompileCommandOptions {
  model?: string;
  revision?: string;
  variant?: string;
  predictionType?: PredictionType;
  dtype: FloatDtype;
  sizes?: Array<{ width?: number; height?: number }>;
  batch: number[];
  guidance: boolean;
  t5?: boolean;
  gpuMemoryFraction?: number;
  quiet?: boolean;
}

/** `tfjs-diffusers compile`: a picture of one step for each size and batch, which waits for XLA. */
export async function compile(
  { model = DEMO_MODEL, sizes = [{}], batch, guidance, t5, gpuMemoryFraction, quiet, ...options }: CompileCommandOptions,
): Promise<void> {
  const say = quiet ? () => undefined : console.log;
  const device = await useDevice('cuda', { memoryFraction: gpuMemoryFraction });
  const pipe = await loadPipeline(model, { ...options, ...leftOut({ t5 }), device, compile: false }, { quiet, say });
  try {
    pipe.setProgressBarConfig({ disable: true });
    pipe.compile({ wait: true });
    for (const size of sizes) {
      for (const numImagesPerPrompt of batch) {
        const started = performance.now();
        const guidanceScale = guidance ? 7.5 : 1;
        const { images } = await pipe.generate('', { ...size, numImagesPerPrompt, numInferenceSteps: 1, guidanceScale });
        const { width, height } = images[0];
        say(`${width}x${height}, ${numImagesPerPrompt} at once: compiled in ${((performance.now() - started) / 1000).toFixed(1)} s`);
      }
    }
  } finally {
    pipe.dispose();
  }
}
