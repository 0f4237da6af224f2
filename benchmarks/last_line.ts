import { spawnSync } from 'node:child_process';

/** Runs a command to its end. Returns the last line that it printed. @throws Error if it fails, or takes longer than `timeout` seconds. */
export function lastLine([command, ...args]: readonly string[], timeout: number): string {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: timeout * 1000 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? signal ?? stderr}`);
  return stdout.trim().split('\n').at(-1)!;
}
