import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { PredictionType } from '../checkpoints/ldm_config.js';
import type { FloatDtype } from '../core/float16.js';
import { DownloadBar } from './download_bar.js';
import { parseSize } from './parse_size.js';
import { interruption } from './supervise.js';
import { textEncodersOf, type TextEncoderOptions } from './text_encoders.js';

export interface ConvertCommandOptions extends TextEncoderOptions {
  dtype?: FloatDtype | 'int8' | 'int4';
  maxShardSize?: string;
  revision?: string;
  variant?: string;
  predictionType?: PredictionType;
  safetyChecker?: boolean;
  t5?: boolean;
  verify?: boolean;
  quiet?: boolean;
}

/** `tfjs-diffusers convert` */
export async function convert(source: string, target: string, options: ConvertCommandOptions): Promise<void> {
  const { dtype, revision, variant, predictionType, safetyChecker, t5, verify, quiet } = options;
  const maxShardSize = parseSize('--max-shard-size', options.maxShardSize);
  const { convertModel } = await import('../../weights-converter/convert.js');
  const { startProgressBar } = await import('../pipelines/run/progress_bar.js');
  const download = new DownloadBar(source, quiet ? () => undefined : console.log, quiet);
  let bar: ReturnType<typeof startProgressBar> | undefined; // not before the download's ends
  try {
    await convertModel(source, target, {
      dtype, revision, variant, predictionType, safetyChecker, t5, verify, maxShardSize, ...textEncodersOf(options), signal: interruption(),
      progressCallback: progress => download.update(progress),
      onProgress: ({ loaded, total }) => {
        bar ??= startProgressBar(100, { disable: quiet, desc: target });
        void bar.then(each => each.update(Math.floor(100 * loaded / total)));
      },
    });
  } finally {
    download.stop();
    (await bar)?.stop();
  }
  if (quiet) return;
  const use = existsSync(join(target, 'model_index.json')) ? `: tfjs-diffusers generate "..." --model ${target}` : '';
  console.log(`${target}  is ready${verify ? ' and verified' : ''}${use}`);
}
