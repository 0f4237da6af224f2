import { spawn } from 'node:child_process';

/** A program that could not be started, or that failed; `output` is all that it printed. */
export class ToolError extends Error {
  constructor(command: string, readonly how: string, readonly output: string) {
    super(`${command} ${how}`);
  }
}

export interface RunOptions {
  /** Added to this process's environment. */
  env?: NodeJS.ProcessEnv;
  /** Gets each line of stdout as it comes. */
  onLine?: (line: string) => void;
}

/** Runs a program, without a shell, and resolves with what it printed on stdout. */
export function runTool(command: string, args: readonly string[], { env, onLine }: RunOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (stdout.slice(stdout.lastIndexOf('\n') + 1) + text).split('\n');
      stdout += text;
      lines.slice(0, -1).forEach(line => onLine?.(line));
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
    child.on('error', error => reject(new ToolError(command, `does not run: ${error.message}`, '')));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new ToolError(command, signal ? `was ended by ${signal}` : `failed with exit code ${code}`, `${stdout}\n${stderr}`));
    });
  });
}
