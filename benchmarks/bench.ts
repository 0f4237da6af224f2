/** `npm run bench -- [benchmark ...]`: speed and memory at Stable Diffusion 1.5's size, with random weights, beside diffusers if asked. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { aims } from './aims.js';
import { ALONE, CASES } from './cases.js';
import { firstPictureHead, firstPictureRow, measureFirstPicture } from './first_picture.js';
import { nvidiaSmi } from './gpu.js';
import { loadingMarkdown, measureLoading } from './loading.js';
import { measure } from './measure.js';
import { measureMemory, memoryMarkdown, type MemoryFamily } from './memory.js';
import { DTYPES, OURS, SIZES, THEIRS, type Dtype, type Options } from './options.js';
import { charts, head, rows, table, tableHead, tableRow, type CaseResult } from './report.js';

function memoryOf(family: MemoryFamily) {
  return async (options: Options) => {
    const figures = await measureMemory(family, options);
    console.log(memoryMarkdown(figures));
    return { figures, table: memoryMarkdown(figures) };
  };
}

/** What has a table of its own. */
const TABLES: Record<string, (options: Options) => Promise<{ figures: unknown; table: string }>> = {
  'first-picture': async options => {
    console.log(tableHead(firstPictureHead));
    const figures = await measureFirstPicture(options, row => console.log(tableRow(firstPictureRow(row))));
    if (figures.some(({ failed }) => failed)) process.exitCode = 1;
    return { figures, table: table(firstPictureHead, figures.map(firstPictureRow)) };
  },
  'load': async options => {
    const figures = await measureLoading(options);
    console.log(loadingMarkdown(figures));
    return { figures, table: loadingMarkdown(figures) };
  },
  'memory': memoryOf('sd15'),
  'memory-xl': memoryOf('sdxl'),
};
/** Of our side alone: scripts that print by themselves, and fail where a bound is passed. */
const SCRIPTS = ['overhead', 'leaks', 'approximations', 'serve', 'webgpu-tune'];
/** Names that stand for several. */
const GROUPS: Record<string, string[]> = { sdxl: ['unet-xl', 'memory-xl'], sd35: ['transformer-sd35-512', 'transformer-sd35'] };
const NAMES = [...Object.keys(CASES), ...Object.keys(TABLES), ...SCRIPTS, ...Object.keys(GROUPS)];

/** What is measured where nothing is named: on a GPU what matters there, most of all first; elsewhere whole pictures of SD1.5 would take hours, and SDXL most of the memory. */
const ON_GPU = ['unet', 'generate-sd15', 'vae-decode', 'text-encoder', 'first-picture', 'generate-sd15-50', 'generate-sd15-batch-4', 'generate-sd15-batch-8',
  'generate-sd15-batch-8-sliced', 'load'];
const ELSEWHERE = [...Object.keys(CASES).filter(name => !name.startsWith('generate-sd15') && !ALONE.includes(name)), 'load', 'memory'];

const positive = (text: string) => {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('takes a whole number, 1 or more');
  return Number(text);
};
const fraction = (text: string) => {
  if (!(Number(text) > 0 && Number(text) <= 1)) throw new InvalidArgumentError('takes a number above 0, 1 at most');
  return Number(text);
};
const program = new Command('npm run bench --')
  .argument('[benchmark...]', `of ${NAMES.join(', ')}; by default on cuda: ${ON_GPU.join(', ')}; else all but generate-sd15, sdxl's, sd35's and ${SCRIPTS.join(', ')}`)
  .option('--runs <n>', 'counted runs of each side', positive, 5)
  .option('--warmups <n>', 'runs before that are not counted, 0 counts the first; by default 3 on cuda, else 1', text => (text === '0' ? 0 : positive(text)))
  .option('--timeout <seconds>', 'for each side of a case, all in all; by default 300 on cuda, else 3600', positive)
  .option('--device <device>', 'ours: cpu, cuda or wasm; PyTorch is on cuda too, else on the cpu', 'cpu')
  .addOption(new Option('--dtype <dtype...>', 'of both sides; by default all on cuda, else float32').choices(DTYPES))
  .addOption(new Option('--ours <variant...>', 'how ours runs; by default compiled and eager on cuda, else eager').choices(OURS))
  .addOption(new Option('--vs-diffusers [variant...]', 'also diffusers on PyTorch; by default all variants on cuda, else eager, in both layouts').choices(THEIRS))
  .addOption(new Option('--size <size>', 'of the networks, but the bundled ones: small ones are to try a benchmark with').choices(SIZES).default('sd15'))
  .option('--gpu-memory-fraction <fraction>', "the most that a side of a case may take of the GPU's memory", fraction)
  .addOption(new Option('--python <path>', 'a Python with spec/golden/requirements.txt').env('PYTHON').default('python3'))
  .option('--models <folder>', 'where the random weights are kept', '.build/bench')
  .option('--cold', 'load: from the disk, not from the page cache')
  .option('--json <file>', 'write the figures')
  .option('--markdown <file>', 'write the tables and charts')
  .parse();
const given = program.opts<Partial<Omit<Options, 'vsDiffusers'>> & Pick<Options, 'runs' | 'device' | 'size' | 'python' | 'models'> & { vsDiffusers?: true | string[] }>();
const isCuda = given.device === 'cuda';
const options: Options = {
  warmups: isCuda ? 3 : 1, timeout: isCuda ? 300 : 3600, dtype: isCuda ? DTYPES : ['float32'], ours: isCuda ? ['compiled', 'eager'] : ['eager'], ...given,
  vsDiffusers: given.vsDiffusers === true ? isCuda ? THEIRS : ['eager', 'channels_last'] : given.vsDiffusers ?? [],
};
for (const name of program.args) if (!NAMES.includes(name)) program.error(`benchmark: got '${name}', takes ${NAMES.join(', ')}`);
const names = program.args.length ? program.args.flatMap(name => GROUPS[name] ?? name) : isCuda ? ON_GPU : ELSEWHERE;

const machine = {
  machine: cpus()[0].model, cores: cpus().length, gpus: nvidiaSmi('name,driver_version,memory.total'), node: process.version, date: new Date().toISOString().slice(0, 10),
};
console.error(`${[`${machine.cores} x ${machine.machine}`, ...machine.gpus, `Node ${machine.node}`].join('; ')}; networks: ${options.size}`);

const results: CaseResult[] = [];
const tables: string[] = [];
const figures: Record<string, unknown> = {};
for (const [i, dtype] of options.dtype.entries()) {
  for (const name of names) {
    if (i > 0 && !(name in CASES)) continue; // the others have all types in one
    console.error(`${name}: ...`);
    try {
      await run(name, dtype);
    } catch (error) {
      console.error(`${name}: ${(error as Error).message}`);
      process.exitCode = 1;
    }
    await save(); // after each: a long run that breaks has given something
  }
}

async function run(name: string, dtype: Dtype): Promise<void> {
  if (name in CASES) {
    console.log(tableHead(head(options.ours)));
    const result = await measure(name, dtype, options, (found, done) => rows(found, done).forEach(row => console.log(tableRow(row))));
    results.push(result);
    aims(result, options).forEach(note => console.log(note));
    if (result.sides.some(({ failed }) => failed)) process.exitCode = 1;
  } else if (name in TABLES) {
    const measured = await TABLES[name](options);
    figures[name] = measured.figures;
    tables.push(measured.table);
  } else {
    const script = fileURLToPath(new URL(`${name}.js`, import.meta.url));
    process.exitCode ||= spawnSync(process.execPath, ['--expose-gc', script, options.device, options.size], { stdio: 'inherit' }).status ?? 1;
  }
}

async function save(): Promise<void> {
  if (options.json) await writeFile(options.json, JSON.stringify({ ...machine, ...options, results, ...figures }, null, 2));
  const cases = results.length ? [table(head(options.ours), results.flatMap(result => rows(result)))] : [];
  if (options.markdown) await writeFile(options.markdown, `${[...cases, ...charts(results), ...tables].join('\n\n')}\n`);
}
