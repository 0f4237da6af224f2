/**
 * `npm run bench -- [case ...]`: times the networks at Stable Diffusion 1.5's size, with random weights, and loading them, beside diffusers if asked.
 * Each side is a process of its own; they take turns, so that a ratio holds where the machine's speed drifts.
 */
import { Command, InvalidArgumentError } from 'commander';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CASES, MODELS } from './cases.js';
import { loadingMarkdown, measureLoading, type LoadingResult } from './loading.js';
import { measureMemory, memoryMarkdown, type MemoryRow } from './memory.js';
import { markdown, median, type CaseResult, type SideResult } from './report.js';
import { Side } from './side.js';

interface Options {
  runs: number;
  device: string;
  vsDiffusers?: string[];
  python: string;
  models: string;
  cold?: boolean;
  json?: string;
  markdown?: string;
}

const here = dirname(fileURLToPath(import.meta.url));
const pythonWorker = 'benchmarks/diffusers_worker.py';
/** Checks of our side alone: scripts that print by themselves, and fail where a bound is passed. */
const CHECKS = ['overhead', 'leaks'];
const LAYOUTS = ['default', 'channels_last', 'compile'];
const positive = (text: string) => {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('takes a whole number, 1 or more');
  return Number(text);
};

const LOAD = 'load';
const MEMORY = 'memory';
const known = [...Object.keys(CASES), LOAD, MEMORY];

const program = new Command('npm run bench --')
  .argument('[case...]', `of ${[...known, ...CHECKS].join(', ')} (these two only when asked for)`, known)
  .option('--runs <n>', 'counted runs of each side, after one that is not', positive, 5)
  .option('--device <device>', 'ours: cpu, cuda or wasm', 'cpu')
  .option('--vs-diffusers [layout...]', `also diffusers on PyTorch: ${LAYOUTS.join(', ')}`)
  .option('--python <path>', 'a Python with spec/golden/requirements.txt', 'python3')
  .option('--models <folder>', 'where the random weights are kept', '.build/bench')
  .option('--cold', `${LOAD}: from the disk, not from the page cache`)
  .option('--json <file>', 'write the figures')
  .option('--markdown <file>', 'write the table')
  .parse();
const names = program.processedArgs[0] as string[];
const given = program.opts<Options & { vsDiffusers?: true | string[] }>();
const options: Options = { ...given, vsDiffusers: given.vsDiffusers === true ? LAYOUTS.slice(0, 2) : given.vsDiffusers };
for (const name of names) if (![...known, ...CHECKS].includes(name)) program.error(`case: got '${name}', takes ${[...known, ...CHECKS].join(', ')}`);
for (const layout of options.vsDiffusers ?? []) if (!LAYOUTS.includes(layout)) program.error(`layout: got '${layout}', takes ${LAYOUTS.join(', ')}`);

const results: CaseResult[] = [];
let loading: LoadingResult[] | undefined;
let memory: MemoryRow[] | undefined;
for (const name of names) {
  if (CHECKS.includes(name)) {
    process.exitCode ||= spawnSync(process.execPath, ['--expose-gc', join(here, `${name}.js`), options.device], { stdio: 'inherit' }).status ?? 1;
    continue;
  }
  console.error(`${name}: ...`);
  if (name === LOAD) {
    loading = await measureLoading(await weightsOf('unet'), options);
    console.log(loadingMarkdown(loading));
  } else if (name === MEMORY) {
    for (const model of ['text_encoder', 'unet', 'vae']) await weightsOf(model);
    memory = measureMemory(options.models, options);
    console.log(memoryMarkdown(memory));
  } else {
    results.push(await measure(name));
    console.log(markdown(results.slice(-1)));
  }
}
const tables = [...results.length ? [markdown(results)] : [], ...loading ? [loadingMarkdown(loading)] : [], ...memory ? [memoryMarkdown(memory)] : []];
const report = { machine: cpus()[0].model, cores: cpus().length, node: process.version, date: new Date().toISOString().slice(0, 10), ...options, results, loading, memory };
if (options.json) await writeFile(options.json, JSON.stringify(report, null, 2));
if (options.markdown) await writeFile(options.markdown, `${tables.join('\n\n')}\n`);

async function measure(name: string): Promise<CaseResult> {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'));
  const sides: Side[] = [];
  try {
    const weights = await weightsOf(MODELS[CASES[name].kind]);
    const starts: Array<[string, string, string[]]> = [
      ['tfjs-diffusers', process.execPath, [join(here, 'worker.js'), name, weights, options.device]],
      ...(options.vsDiffusers ?? []).map(layout =>
        [`diffusers ${layout}`, options.python, [pythonWorker, JSON.stringify(CASES[name]), weights, layout]] as [string, string, string[]]),
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

/** The folder of weights that both sides load; random ones are made if they are not there yet. */
async function weightsOf(model: string | undefined): Promise<string> {
  if (!model || model.includes('/')) return model ?? '';
  const folder = join(options.models, model);
  if (!existsSync(folder)) {
    run(options.python, [pythonWorker, 'export', model, `${folder}.partial`]);
    await rename(`${folder}.partial`, folder);
  }
  return folder;
}

function run(command: string, args: string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit ${status}`}`);
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
