/** `npm run bench -- [benchmark ...]`: speed and memory at Stable Diffusion 1.5's size, with random weights, beside diffusers if asked. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CASES } from './cases.js';
import { loadingMarkdown, measureLoading } from './loading.js';
import { measure } from './measure.js';
import { measureMemory, memoryMarkdown } from './memory.js';
import { OURS, THEIRS, type Options } from './options.js';
import { charts, markdown, type CaseResult } from './report.js';

/** What has a table of its own. */
const TABLES: Record<string, (options: Options) => Promise<{ figures: unknown; table: string }>> = {
  load: async options => {
    const figures = await measureLoading(options);
    return { figures, table: loadingMarkdown(figures) };
  },
  memory: async options => {
    const figures = await measureMemory(options);
    return { figures, table: memoryMarkdown(figures) };
  },
};
/** Of our side alone: scripts that print by themselves, and fail where a bound is passed. */
const SCRIPTS = ['overhead', 'leaks', 'approximations'];
const known = [...Object.keys(CASES), ...Object.keys(TABLES)];

const positive = (text: string) => {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('takes a whole number, 1 or more');
  return Number(text);
};
const program = new Command('npm run bench --')
  .argument('[benchmark...]', `of ${known.join(', ')} (all of these unless some are named), ${SCRIPTS.join(', ')}`, known)
  .option('--runs <n>', 'counted runs of each side, after one that is not', positive, 5)
  .option('--device <device>', 'ours: cpu, cuda or wasm', 'cpu')
  .addOption(new Option('--ours <variant>', 'how ours runs').choices(OURS).default('eager'))
  .addOption(new Option('--vs-diffusers [variant...]', 'also diffusers on PyTorch; by default eager, in both layouts').choices(THEIRS))
  .option('--python <path>', 'a Python with spec/golden/requirements.txt', 'python3')
  .option('--models <folder>', 'where the random weights are kept', '.build/bench')
  .option('--cold', 'load: from the disk, not from the page cache')
  .option('--json <file>', 'write the figures')
  .option('--markdown <file>', 'write the tables and charts')
  .parse();
const names = program.processedArgs[0] as string[];
const given = program.opts<Options & { vsDiffusers?: true | string[] }>();
const options: Options = { ...given, vsDiffusers: given.vsDiffusers === true ? THEIRS.slice(0, 2) : given.vsDiffusers };
for (const name of names) if (![...known, ...SCRIPTS].includes(name)) program.error(`benchmark: got '${name}', takes ${[...known, ...SCRIPTS].join(', ')}`);

const results: CaseResult[] = [];
const tables: string[] = [];
const figures: Record<string, unknown> = {};
for (const name of names) {
  console.error(`${name}: ...`);
  if (SCRIPTS.includes(name)) {
    process.exitCode ||= spawnSync(process.execPath, ['--expose-gc', join(dirname(fileURLToPath(import.meta.url)), `${name}.js`), options.device], { stdio: 'inherit' }).status ?? 1;
  } else if (name in TABLES) {
    const measured = await TABLES[name](options);
    figures[name] = measured.figures;
    tables.push(measured.table);
    console.log(measured.table);
  } else {
    results.push(await measure(name, options));
    console.log(markdown(results.slice(-1)));
  }
  await save(); // after each: a long run that breaks has given something
}

async function save(): Promise<void> {
  const machine = { machine: cpus()[0].model, cores: cpus().length, node: process.version, date: new Date().toISOString().slice(0, 10) };
  if (options.json) await writeFile(options.json, JSON.stringify({ ...machine, ...options, results, ...figures }, null, 2));
  if (options.markdown) await writeFile(options.markdown, `${[...results.length ? [markdown(results)] : [], ...charts(results), ...tables].join('\n\n')}\n`);
}
