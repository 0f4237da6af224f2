import { spawn, type ChildProcess, type SpawnOptionsWithoutStdio } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url));

/** A command that runs on. */
export interface RunningCommand {
  readonly child: ChildProcess;
  /** The address in what it has printed first, or all of it. */
  readonly address: string;
  /** Its exit code, and what it has printed. */
  readonly ended: Promise<[number | null, string]>;
}

/** Starts `tfjs-diffusers` with these arguments, and comes back when it has printed something. */
export async function startCommand(args: readonly string[], options: SpawnOptionsWithoutStdio = {}): Promise<RunningCommand> {
  const child = spawn(process.execPath, [cli, ...args], options);
  let output = '';
  const ended = new Promise<[number | null, string]>(resolve => { child.on('close', code => resolve([code, output])); });
  child.stderr.on('data', text => { output += text; });
  child.stdout.on('data', text => { output += text; });
  await Promise.race([once(child.stdout, 'data'), ended]);
  return { child, address: /http:\/\/[\d.]+:\d+/.exec(output)?.[0] ?? output, ended };
}
