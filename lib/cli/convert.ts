import { UsageError } from './usage_error.js';

export interface ConvertCommandOptions {
  dtype?: 'float32' | 'float16' | 'bfloat16';
  maxShardSize?: string;
  verify?: boolean;
  quiet?: boolean;
}

/** `tfjs-diffusers convert` */
export async function convert(source: string, target: string, { dtype, maxShardSize, verify, quiet }: ConvertCommandOptions): Promise<void> {
  const bytes = maxShardSize === undefined ? undefined : parseSize(maxShardSize);
  const { convertModel } = await import('../../weights-converter/convert.js');
  const { startProgressBar } = await import('../pipelines/progress_bar.js');
  const bar = await startProgressBar(100, { disable: quiet, desc: source });
  try {
    await convertModel(source, target, {
      dtype, verify, maxShardSize: bytes, onProgress: ({ loaded, total }) => bar.update(Math.floor(100 * loaded / total)),
    });
  } finally {
    bar.stop();
  }
  if (!quiet) console.log(`${target}  is ready${verify ? ' and verified' : ''}: tfjs-diffusers generate "..." --model ${target}`);
}

/** 2GB -> 2e9; powers of ten, as in diffusers. */
function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(KB|MB|GB)$/i.exec(text);
  if (!match) throw new UsageError(`--max-shard-size: got '${text}', takes a size as in 500MB or 2GB`);
  return Math.floor(Number(match[1]) * { KB: 1e3, MB: 1e6, GB: 1e9 }[match[2].toUpperCase()]!);
}
