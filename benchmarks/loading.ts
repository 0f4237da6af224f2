import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { convertModel } from '../weights-converter/convert.js';
import { pythonScript, type Options } from './options.js';
import { randomWeights } from './random_weights.js';
import { lastLine } from './last_line.js';
import { median } from './median.js';
import { table } from './report.js';

/** What a worker prints, as JSON. */
interface Loading {
  /** Seconds until the network is loaded, and until it gave its first output, for which every weight is read. */
  load: number;
  firstOutput: number;
  /** GiB, at the same moments. */
  peakLoaded: number;
  peakRan: number;
}

export interface LoadingResult {
  name: string;
  runs: Loading[];
}

const here = dirname(fileURLToPath(import.meta.url));
const pythonWorker = pythonScript('loading_worker.py');

/**
 * The case `load`: a UNet is loaded from the folder that diffusers saved, and from the same converted. Every load is a process of its own,
 * so that a peak is one load's; the sides take turns. Linux.
 */
export async function measureLoading(options: Options): Promise<LoadingResult[]> {
  const { runs, device, python, timeout, vsDiffusers, cold } = options;
  const theirs = await randomWeights('unet', options);
  const ours = `${theirs}-tfjs`;
  if (!existsSync(ours)) await convertModel(theirs, ours);
  const node = [process.execPath, join(here, 'loading_worker.js')];
  const sides = ['float16', 'float32'].flatMap(dtype => [
    { name: `tfjs-diffusers, converted, ${dtype}`, folder: ours, command: [...node, ours, dtype, device] },
    { name: `tfjs-diffusers, ${dtype}`, folder: theirs, command: [...node, theirs, dtype, device] },
    ...vsDiffusers.length ? [{ name: `diffusers, ${dtype}`, folder: theirs, command: [python, pythonWorker, theirs, dtype, device] }] : [],
  ]);
  const results = sides.map(({ name }): LoadingResult => ({ name, runs: [] }));
  for (let i = 0; i < runs; i++) {
    for (const [k, { folder, command }] of sides.entries()) {
      if (cold) lastLine([python, pythonWorker, 'evict', folder], timeout);
      results[k].runs.push(JSON.parse(lastLine(command, timeout)) as Loading);
    }
  }
  return results;
}

/** One row for each side. */
export function loadingMarkdown(results: LoadingResult[]): string {
  const head = ['side', 'load s', 'to its first output s', 'peak GiB, loaded', 'peak GiB, first output'];
  const rows = results.map(({ name, runs }) => {
    const times = (['load', 'firstOutput'] as const).map(key => runs.map(each => each[key]));
    const peaks = (['peakLoaded', 'peakRan'] as const).map(key => runs.map(each => each[key]));
    return [
      name, ...times.map(values => `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})`),
      ...peaks.map(values => median(values).toFixed(2)),
    ];
  });
  return table(head, rows);
}
