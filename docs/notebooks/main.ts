import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { cacheFolder } from '../../lib/runtime/native/build_folder.js';
import { runTool } from '../../lib/core/run_tool.js';

// npm run notebooks: runs them from top to bottom in tslab under Jupyter, and keeps what they give.
// -- --check: into a folder that is thrown away; fails if one fails, or shows other kinds of things than are kept.
// -- --open: in your browser.

const FOLDER = 'docs/notebooks';
const JUPYTERLAB = 'jupyterlab==4.6.6'; // only to open them
const python = process.env.PYTHON ?? 'python3';

interface Notebook {
  cells: Array<{ outputs?: Array<{ output_type: string; data?: Record<string, unknown> }> }>;
}

/** tslab and the link to this clone, from npm; Jupyter, from pip, kept in the cache. Gives Jupyter's Python. */
async function install(): Promise<string> {
  await runTool('npm', ['install', '--prefix', FOLDER, '--prefer-offline', '--loglevel=error']);
  const requirements = await readFile(join(FOLDER, 'requirements.txt'), 'utf8');
  const environment = join(dirname(cacheFolder()), 'notebooks', requirements.trim().replaceAll(/\s+/g, '-').replaceAll('==', '-'));
  if (!existsSync(environment)) { // a folder of this name is complete
    await mkdir(dirname(environment), { recursive: true });
    const stage = await mkdtemp(join(dirname(environment), 'stage-'));
    try {
      await runTool(python, ['-m', 'venv', stage]);
      await runTool(executable(stage), ['-m', 'pip', 'install', '--disable-pip-version-check', '-r', join(FOLDER, 'requirements.txt')]);
      await rename(stage, environment);
    } finally {
      await rm(stage, { recursive: true, force: true });
    }
  }
  return executable(environment);
}

function executable(environment: string): string {
  return process.platform === 'win32' ? join(environment, 'Scripts', 'python.exe') : join(environment, 'bin', 'python');
}

/** Tells Jupyter how to start tslab: gives the environment that says where that stands. */
async function describeKernel(folder: string): Promise<NodeJS.ProcessEnv> {
  const kernel = join(folder, 'kernels', 'tslab');
  await mkdir(kernel, { recursive: true });
  const argv = [process.execPath, resolve(FOLDER, 'node_modules/tslab/bin/tslab'), 'kernel', '--config-path', '{connection_file}'];
  await writeFile(join(kernel, 'kernel.json'), JSON.stringify({ argv, display_name: 'TypeScript', language: 'typescript' }));
  return { JUPYTER_PATH: folder };
}

/** What each cell shows, by kind: its pictures have the same places. */
async function picturesOf(path: string): Promise<string> {
  const { cells } = JSON.parse(await readFile(path, 'utf8')) as Notebook;
  return JSON.stringify(cells.map(({ outputs = [] }) => outputs.filter(({ output_type }) => output_type === 'display_data').map(({ data }) => Object.keys(data!))));
}

async function main(): Promise<void> {
  const { values: { check, open }, positionals } = parseArgs({
    options: { check: { type: 'boolean', default: false }, open: { type: 'boolean', default: false } }, allowPositionals: true,
  });
  const jupyter = await install();
  const folder = await mkdtemp(join(dirname(cacheFolder()), 'notebooks', 'run-'));
  try {
    const env = await describeKernel(folder);
    if (open) {
      await runTool(jupyter, ['-m', 'pip', 'install', '--disable-pip-version-check', JUPYTERLAB]);
      process.on('SIGINT', () => undefined); // Jupyter's to answer
      const root = process.getuid?.() === 0 ? ['--allow-root'] : []; // as in a container
      await new Promise(ended => spawn(jupyter, ['-m', 'jupyterlab', FOLDER, ...root], { env: { ...process.env, ...env }, stdio: 'inherit' }).on('close', ended));
      return;
    }
    const all = (await readdir(FOLDER)).filter(name => name.endsWith('.ipynb')).sort();
    for (const name of positionals.length > 0 ? positionals : all) {
      const started = performance.now();
      const path = join(FOLDER, name);
      await runTool(jupyter, ['-m', 'nbconvert', '--to', 'notebook', '--execute', '--ExecutePreprocessor.record_timing=False',
        '--ExecutePreprocessor.kernel_name=tslab', '--output-dir', folder, path], { env });
      const before = await picturesOf(path);
      if (check && await picturesOf(join(folder, name)) !== before) throw new Error(`${path}: shows other things than are kept: npm run notebooks`);
      if (!check) await writeFile(path, await readFile(join(folder, name)));
      console.log(`${path}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  await main();
} catch (error) {
  const { message, output = '' } = error as Error & { output?: string };
  console.error(`${message}\n${output.slice(Math.max(0, output.lastIndexOf('An error occurred while executing')))}`); // without Jupyter's own stack
  process.exitCode = 1;
}
