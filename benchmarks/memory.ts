import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lastLine } from './last_line.js';
import { pythonScript, type Options } from './options.js';
import { randomPipeline, randomXlPipeline } from './random_weights.js';
import { table } from './report.js';

/** A picture of one step, guided, made with something turned on. */
export interface MemoryCase {
  /** What is turned on, in the words of both sides' methods. */
  readonly on: ReadonlyArray<'AttentionSlicing' | 'VaeSlicing' | 'VaeTiling' | 'ModelCpuOffload' | 'SequentialCpuOffload'>;
  readonly images: number;
  /** Pixels along each side. */
  readonly size: number;
  readonly dtype: 'float32' | 'float16' | 'bfloat16';
  /** Load with `cpuOffload`. */
  readonly cpuOffload?: 'model' | 'sequential';
}

const PLAIN: MemoryCase = { on: [], images: 1, size: 512, dtype: 'float32' };

/** A case that shows what something saves comes after one without it. Offloading is measured on our side: diffusers has it for GPUs only; and float16,
 * of which PyTorch takes minutes for a step on most CPUs. */
const SD15_CASES: Record<string, MemoryCase> = {
  'one picture': PLAIN,
  'attention slicing': { ...PLAIN, on: ['AttentionSlicing'] },
  'model offload': { ...PLAIN, on: ['ModelCpuOffload'] },
  'model offload from the start': { ...PLAIN, cpuOffload: 'model' },
  'sequential offload from the start': { ...PLAIN, cpuOffload: 'sequential' },
  'bfloat16': { ...PLAIN, dtype: 'bfloat16' },
  'bfloat16, model offload from the start': { ...PLAIN, dtype: 'bfloat16', cpuOffload: 'model' },
  'float16': { ...PLAIN, dtype: 'float16' },
  'two pictures': { ...PLAIN, images: 2 },
  'two pictures, VAE slicing': { ...PLAIN, images: 2, on: ['VaeSlicing'] },
  'eight pictures, VAE slicing': { ...PLAIN, images: 8, on: ['VaeSlicing'] },
  'eight pictures, VAE slicing, attention slicing, model offload': { ...PLAIN, images: 8, on: ['VaeSlicing', 'AttentionSlicing', 'ModelCpuOffload'] },
  '768 x 768': { ...PLAIN, size: 768 },
  '768 x 768, VAE tiling': { ...PLAIN, size: 768, on: ['VaeTiling'] },
};

const XL: MemoryCase = { ...PLAIN, size: 1024 };

const SDXL_CASES: Record<string, MemoryCase> = {
  'bfloat16': { ...XL, dtype: 'bfloat16' },
  'bfloat16, VAE tiling': { ...XL, dtype: 'bfloat16', on: ['VaeTiling'] },
  'bfloat16, model offload from the start': { ...XL, dtype: 'bfloat16', cpuOffload: 'model' },
  'bfloat16, model offload from the start, VAE tiling': { ...XL, dtype: 'bfloat16', cpuOffload: 'model', on: ['VaeTiling'] },
  'float32': XL,
  'float32, model offload from the start': { ...XL, cpuOffload: 'model' },
  'float32, sequential offload from the start': { ...XL, cpuOffload: 'sequential' },
};

/** The random model of each family, and what is measured of it. */
const FAMILIES = {
  sd15: { cases: SD15_CASES, model: randomPipeline },
  sdxl: { cases: SDXL_CASES, model: randomXlPipeline },
};

export type MemoryFamily = keyof typeof FAMILIES;

/** What a worker prints, as JSON. */
export interface MemoryResult {
  /** Seconds to load and to make the pictures. */
  load: number;
  run: number;
  /** Highest resident memory of the process, bytes. */
  peakRss: number;
}

export interface MemoryRow {
  name: string;
  /** Not there where it failed. */
  ours?: MemoryResult;
  theirs?: MemoryResult;
}

const here = dirname(fileURLToPath(import.meta.url));

/** The cases `memory` and `memory-xl`: each way to save memory in a process of its own, which makes pictures of one step with all networks of a model. */
export async function measureMemory(family: MemoryFamily, options: Options): Promise<MemoryRow[]> {
  const { device, python, timeout, vsDiffusers } = options;
  const measure = (...command: string[]): MemoryResult | undefined => {
    try {
      return JSON.parse(lastLine(command, timeout)) as MemoryResult;
    } catch (error) {
      console.error((error as Error).message);
      process.exitCode = 1;
    }
  };
  const model = await FAMILIES[family].model(options);
  return Object.entries(FAMILIES[family].cases).map(([name, job]) => {
    const ours = measure(process.execPath, join(here, 'memory_worker.js'), JSON.stringify(job), model, device);
    const isTheirs = vsDiffusers.length && job.dtype !== 'float16' && !job.cpuOffload && !job.on.some(each => each.endsWith('Offload'));
    const row = { name, ours, theirs: isTheirs ? measure(python, pythonScript('memory_worker.py'), JSON.stringify(job), model) : undefined };
    console.error(memoryMarkdown([row]).split('\n').at(-1));
    return row;
  });
}

export function memoryMarkdown(rows: MemoryRow[]): string {
  const head = ['', 'peak GiB', 'load s', 'picture s', 'diffusers: peak GiB', 'picture s'];
  const gib = (result?: MemoryResult) => result ? (result.peakRss / 2 ** 30).toFixed(2) : '';
  const lines = rows.map(({ name, ours, theirs }) => [name, gib(ours), ours?.load.toFixed(1) ?? '', ours?.run.toFixed(0) ?? '', gib(theirs), theirs?.run.toFixed(0) ?? '']);
  return table(head, lines);
}
