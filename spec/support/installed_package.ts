import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** Runs a program, without what npm hands down of whoever runs the specs. */
export async function execute(command: string, parameters: readonly string[], cwd: string): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, npm_config_ignore_scripts: 'false' };
  return promisify(execFile)(command, parameters, { cwd, env, shell: process.platform === 'win32' && command === 'npm' });
}

/** Whether this is a clone, which can be told from what lies about in it. */
export const isClone = existsSync('.git');

interface Installed {
  /** The folder of a program that has this package installed, as npm packs it from a clean clone. */
  readonly program: string;
  /** The folder of that clone, compiled by now. */
  readonly clone: string;
}

let installed: Promise<Installed> | undefined;

/** Once for all specs. */
export function installPackage(): Promise<Installed> {
  return installed ??= install();
}

async function install(): Promise<Installed> {
  const folder = mkdtempSync(join(tmpdir(), 'spec-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const [clone, program] = [join(folder, 'clone'), join(folder, 'program')];
  const { stdout } = await execute('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], '.');
  for (const path of stdout.split('\0').filter(path => existsSync(path) && !path.startsWith('spec/golden/'))) cpSync(path, join(clone, path));
  symlinkSync(resolve('node_modules'), join(clone, 'node_modules'), 'junction'); // npm would install the same
  mkdirSync(join(clone, 'dist/lib'), { recursive: true });
  for (const end of ['js', 'd.ts']) writeFileSync(join(clone, `dist/lib/moved_since.${end}`), 'export {};\n'); // of another day
  mkdirSync(program);
  writeFileSync(join(program, 'package.json'), '{ "private": true, "type": "module" }\n');
  await execute('npm', ['pack', '../clone'], program);
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  await execute('npm', ['install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', `tfjs-diffusers-${version}.tgz`], program);
  return { program, clone };
}
