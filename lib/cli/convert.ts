import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DownloadBar } from './download_bar.js';
import { interruption } from './supervise.js';
import { UsageError } from './usage_error.js';

export interface ConvertCommandOptions {
  dtype?: 'float32' | 'float16' | 'bfloat16';
  maxShardSize?: string;
  revision?: string;
  variant?: string;
  predictionType?: 'epsilon' | 'v_prediction';
  verify?: boolean;
  quiet?: boolean;
}

/** `tfjs-diffusers convert` */
export async function convert(source: string, target: string, options: ConvertCommandOptions): Promise<void> {
  const { dtype, revision, variant, predictionType, verify, quiet } = options;
  const maxShardSize = options.maxShardSize === undefined ? undefined : parseSize(options.maxShardSize);
  const { convertModel } = await import('../../weights-converter/convert.js');
  const { startProgressBar } = await import('../pipelines/progress_bar.js');
  const download = new DownloadBar(source, quiet ? () => undefined : console.log, quiet);
  let bar: ReturnType<typeof startProgressBar> | undefined; // not before the download's ends
  try {
    await convertModel(source, target, {
      dtype, revision, variant, predictionType, verify, maxShardSize, signal: interruption(),
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

/** 2GB -> 2e9; powers of ten, as in diffusers. */
function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(KB|MB|GB)$/i.exec(text);
  if (!match) throw new UsageError(`--max-shard-size: got '${text}', takes a size as in 500MB or 2GB`);
  return Math.floor(Number(match[1]) * { KB: 1e3, MB: 1e6, GB: 1e9 }[match[2].toUpperCase()]!);
}
