/**
 * `npm run bench -- leaks`: whether tensors or memory grow with the pictures and pipelines that one process makes, op by op and compiled.
 * Exits with 1 if a tensor is left or resident memory grows by 5% after the tenth.
 */
import * as tf from '@tensorflow/tfjs';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DiffusionPipeline, Generator, useDevice, type Device } from '../lib/index.js';

const LIMIT = 0.05;
const FIRST = 10;

interface Usage {
  tensors: number;
  /** Bytes. */
  resident: number;
}

const PICTURES = 200;
const PIPELINES = 20;

const [device = 'cpu', row] = process.argv.slice(2) as [Device?, string?];
if (row) await work(row);
else compare();

/** Each row in a process of its own: memory that one made grow another would find. */
function compare(): void {
  console.log('| what | tensors after the first, the last | resident MB after the tenth, the last | growth |\n| --- | --- | --- | --- |');
  for (const row of ['pictures', 'pictures, compiled', 'pipelines', 'pipelines, compiled']) {
    const { status, stdout } = spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), device, row],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    if (status !== 0) throw new Error(`${row}: exit ${status}`);
    const usages = JSON.parse(stdout) as Usage[];
    const [first, tenth, last] = [usages[0], usages[Math.min(FIRST, usages.length) - 1], usages.at(-1)!];
    const growth = last.resident / tenth.resident - 1;
    const megabytes = ({ resident }: Usage) => (resident / 1e6).toFixed(0);
    console.log(`| ${usages.length} ${row} | ${first.tensors}, ${last.tensors} | ${megabytes(tenth)}, ${megabytes(last)} | ${(100 * growth).toFixed(1)}% |`);
    if (last.tensors !== first.tensors || growth >= LIMIT) process.exitCode = 1;
  }
}

async function work(row: string): Promise<void> {
  await useDevice(device!);
  const usages: Usage[] = [];
  const look = () => {
    globalThis.gc!();
    usages.push({ tensors: tf.memory().numTensors, resident: process.memoryUsage.rss() });
  };
  const load = async () => {
    const pipe = await DiffusionPipeline.fromPretrained('models/shapes', { device });
    pipe.setProgressBarConfig({ disable: true });
    if (row.endsWith('compiled')) pipe.compile();
    return pipe;
  };
  const draw = (pipe: Awaited<ReturnType<typeof load>>, seed: number) =>
    pipe.generate('a red circle on a blue background', { numInferenceSteps: 5, generator: new Generator().manualSeed(seed) });
  if (row.startsWith('pictures')) {
    const pipe = await load();
    for (let i = 0; i < PICTURES; i++) {
      await draw(pipe, i);
      look();
    }
  } else {
    for (let i = 0; i < PIPELINES; i++) {
      const pipe = await load();
      await draw(pipe, i);
      pipe.dispose();
      look();
    }
  }
  console.log(JSON.stringify(usages));
}
