/**
 * `npm run bench:loading`: loads a UNet of Stable Diffusion 1.5's size, 1.7 GB of float16, beside diffusers. Linux.
 * Every load is a process of its own; the sides take turns, with the file in the page cache, and with --cold without.
 */
import { Command } from 'commander';
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { convertModel } from '../weights-converter/convert.js';
import { median } from './report.js';

interface Loading {
  /** Seconds until the network is loaded, and until it gave its first output. */
  load: number;
  firstOutput: number;
  /** GiB, at the same moments. */
  peakLoaded: number;
  peakRan: number;
}

const { runs, python, models, cold } = new Command('npm run bench:loading --')
  .option('--runs <n>', 'of each side', Number, 5)
  .option('--python <path>', 'a Python with spec/golden/requirements.txt', 'python3')
  .option('--models <folder>', 'where the random weights are kept', '.build/bench')
  .option('--cold', 'read from the disk, not from the page cache')
  .parse().opts<{ runs: number; python: string; models: string; cold?: boolean }>();

const here = dirname(fileURLToPath(import.meta.url));
const [theirs, ours] = [join(models, 'unet'), join(models, 'unet-tfjs')];
if (!existsSync(theirs)) {
  run(python, 'benchmarks/diffusers_worker.py', 'export', 'unet', `${theirs}.partial`);
  renameSync(`${theirs}.partial`, theirs);
}
if (!existsSync(ours)) await convertModel(theirs, ours);

const sides = (['float16', 'float32'] as const).flatMap(dtype => [
  { name: `tfjs-diffusers, converted, ${dtype}`, folder: ours, command: [process.execPath, join(here, 'loading_worker.js'), ours, dtype], found: [] as Loading[] },
  { name: `tfjs-diffusers, ${dtype}`, folder: theirs, command: [process.execPath, join(here, 'loading_worker.js'), theirs, dtype], found: [] },
  { name: `diffusers, ${dtype}`, folder: theirs, command: [python, 'benchmarks/loading_worker.py', theirs, dtype], found: [] },
]);
for (let i = 0; i < runs; i++) {
  for (const { folder, command, found } of sides) {
    if (cold) run(python, 'benchmarks/loading_worker.py', 'evict', folder);
    found.push(JSON.parse(run(...command)) as Loading);
  }
}
const head = ['side', 'load s', 'to its first output s', 'peak GiB, loaded', 'peak GiB, first output'];
const rows = sides.map(({ name, found }) => [name, ...(['load', 'firstOutput', 'peakLoaded', 'peakRan'] as const).map(key => {
  const values = found.map(each => each[key]);
  return key === 'load' || key === 'firstOutput' ? `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})` : median(values).toFixed(2);
})]);
console.log([head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n'));

function run(...[command, ...args]: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout.trim().split('\n').at(-1)!;
}
