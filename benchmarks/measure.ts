import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CASES, MODELS } from './cases.js';
import type { Options } from './options.js';
import { randomWeights } from './random_weights.js';
import { median, type CaseResult, type SideResult } from './report.js';
import { Side } from './side.js';

const here = dirname(fileURLToPath(import.meta.url));

/** Times a case. Each side is a process of its own; they take turns, so that a ratio holds where the machine's speed drifts. */
export async function measure(name: string, options: Options): Promise<CaseResult> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  const sides: Side[] = [];
  try {
    const model = MODELS[CASES[name].kind];
    const weights = !model || model.includes('/') ? model ?? '' : await randomWeights(model, options);
    const starts: Array<[string, string, string[]]> = [
      [['tfjs-diffusers', ...options.ours === 'eager' ? [] : [options.ours]].join(' '), process.execPath,
        [join(here, 'worker.js'), name, weights, options.device, options.ours]],
      ...(options.vsDiffusers ?? []).map(variant =>
        [`diffusers ${variant}`, options.python, ['benchmarks/diffusers_worker.py', JSON.stringify(CASES[name]), weights, variant]] as [string, string, string[]]),
    ];
    const found: SideResult[] = [];
    for (const start of starts) {
      const { side, prepared } = await Side.start(...start);
      sides.push(side);
      found.push({ name: side.name, load: prepared.load, runs: [], peakRss: 0 });
      await side.run(); // first runs allocate and compile
    }
    const peaks: number[] = [];
    for (let run = 0; run < options.runs; run++) {
      for (const [i, side] of sides.entries()) found[i].runs.push(await side.run());
      peaks.push(2 * 2048 ** 3 / (await sides[0].matmul()).wall);
    }
    for (const [i, side] of sides.entries()) Object.assign(found[i], await side.end(join(folder, `${i}`)));
    for (let i = 1; i < sides.length; i++) found[i].difference = await relativeDifference(join(folder, '0'), join(folder, `${i}`));
    return { name, matmulPeak: median(peaks), sides: found };
  } finally {
    sides.forEach(side => side.stop());
    await rm(folder, { recursive: true, force: true });
  }
}

/** The largest difference of two files of float32, relative to the largest value. */
async function relativeDifference(a: string, b: string): Promise<number> {
  const [x, y] = await Promise.all([a, b].map(async file => new Float32Array((await readFile(file)).buffer)));
  if (x.length !== y.length) throw new Error(`results of ${x.length} and ${y.length} values`);
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < x.length; i++) {
    difference = Math.max(difference, Math.abs(x[i] - y[i]));
    scale = Math.max(scale, Math.abs(y[i]));
  }
  return difference / scale;
}
