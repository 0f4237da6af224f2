import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ALONE } from './cases.js';
import { gpuMemory } from './gpu.js';
import type { Dtype, Options } from './options.js';
import { median } from './median.js';
import type { CaseResult, SideResult } from './report.js';
import { Side, type Start } from './side.js';
import { sides } from './sides.js';

/** A side's process, from its start on, and what is known of it. */
interface Contestant {
  start: Start;
  side?: Side;
  result: SideResult;
}

/**
 * Times a case. Each side is a process of its own. On a CPU they take turns, so that a ratio holds where the machine's speed drifts; on a GPU, and with
 * networks of which two do not fit in a machine, they come one after the other, each with all of the memory. A side that fails or is late does not keep the others from going on.
 * @param tell gets the case each time that more sides are done.
 */
export async function measure(name: string, dtype: Dtype, options: Options, tell: (result: CaseResult, done: SideResult[]) => void): Promise<CaseResult> {
  const { device, timeout, warmups, runs } = options;
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  const all: Contestant[] = (await sides(name, dtype, options)).map(start => ({ start, result: { name: start.name, load: 0, first: 0, runs: [], peakRss: 0 } }));
  const found: CaseResult = { name, dtype, ours: options.ours, sides: all.map(({ result }) => result) };
  const file = (contestant: Contestant) => join(folder, `${all.indexOf(contestant)}`);
  const peaks: number[] = [];
  try {
    for (const group of device === 'cuda' || ALONE.includes(name) ? all.map(each => [each]) : [all]) {
      const before = gpuMemory();
      await inTurn(group, async contestant => {
        const { side, prepared } = await Side.start(contestant.start, timeout);
        contestant.side = side;
        Object.assign(contestant.result, prepared);
        const first = await side.run();
        if (!warmups) contestant.result.runs.push(first);
        contestant.result.first = side.age;
        await side.settle();
      });
      for (let run = 1; run < warmups; run++) await inTurn(group, ({ side }) => side!.run());
      for (let run = warmups ? 0 : 1; run < runs; run++) {
        await inTurn(group, async ({ side, result }) => {
          result.runs.push(await side!.run());
          if (device !== 'cuda' && result === found.sides[0]) peaks.push(2 * 2048 ** 3 / (await side!.matmul()).wall);
        });
      }
      await inTurn(group, async contestant => {
        if (device === 'cuda') contestant.result.gpuMemory = gpuMemory() - before;
        Object.assign(contestant.result, await contestant.side!.end(file(contestant)));
        if (contestant !== all[0] && !all[0].result.failed) contestant.result.difference = await relativeDifference(file(all[0]), file(contestant));
      });
      if (peaks.length) found.matmulPeak = median(peaks);
      tell(found, group.map(({ result }) => result));
    }
    return found;
  } finally {
    for (const { side } of all) await side?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** `step` of each that has not failed yet. */
async function inTurn(group: Contestant[], step: (contestant: Contestant) => Promise<unknown>): Promise<void> {
  for (const contestant of group.filter(({ result }) => !result.failed)) {
    try {
      await step(contestant);
    } catch (error) {
      contestant.result.failed = (error as Error).message;
      await contestant.side?.stop();
    }
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
