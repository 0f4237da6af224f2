import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What came of files: how many tests passed and were skipped, and a text for each that failed, which begins with `1)`. */
export interface Result {
  passed: number;
  skipped: number;
  failures: string[];
}

/** What a process tells: what a reporter would give console.log, or what came of a file. */
export type Message = { line: unknown[] } | { result: Result };

const program = fileURLToPath(new URL('process.js', import.meta.url));

/** How long a process may take to end when it has run its files. */
const PATIENCE = 60_000;

/**
 * Runs files of specs in processes side by side, and prints each file's report when that is whole. mocha's own parallel mode will not do: where a
 * process ends by itself, it falls silent and exits with 0 (mocha 12, workerpool 10). Here that is a failure, and another process takes what is left.
 * @param groups each is run in one process, the first of them first.
 */
export async function runSpecs(groups: ReadonlyArray<readonly string[]>, { processes = 2, print = console.log as (...line: unknown[]) => void } = {}): Promise<Result> {
  const waiting = groups.map(group => [...group]);
  const total: Result = { passed: 0, skipped: 0, failures: [] };
  let started = 0;
  let failed = 0;

  function report(lines: unknown[][], { passed, skipped, failures }: Result): void {
    for (const [text, ...values] of lines) {
      if (String(text).includes('%d) %s')) values[0] = ++failed; // mocha counts anew in each file
      print(text, ...values);
    }
    total.passed += passed;
    total.skipped += skipped;
    total.failures.push(...failures);
    failed = total.failures.length;
  }

  /** Runs files until there are none or the process ends. */
  function startProcess(): Promise<void> {
    // Most tensors here are too small to share out: TensorFlow's threads would cost more than they save.
    const env = { TF_NUM_INTRAOP_THREADS: '1', ...process.env, SPEC_PROCESS: `${started++}` };
    const child = fork(program, { env });
    let group: string[] = [];
    let file: string | undefined;
    let lines: unknown[][] = [];
    let ended = false;
    let stuck = false;
    let timer: NodeJS.Timeout | undefined;
    const endStuck = () => {
      stuck = true;
      child.kill('SIGKILL');
    };
    const next = () => {
      if (group.length === 0) group = waiting.shift() ?? [];
      file = group.shift();
      lines = [];
      if (file === undefined) timer = setTimeout(endStuck, PATIENCE);
      child.send(file ?? '', () => undefined); // if it cannot be sent, the process is about to end
    };
    child.on('message', (message: Message) => {
      if (ended) return;
      if ('line' in message) return void lines.push(message.line);
      report(lines, message.result);
      next();
    });
    next();
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        ended = true;
        clearTimeout(timer);
        if (group.length > 0) waiting.unshift(group);
        if (file !== undefined || code !== 0) {
          const how = stuck ? 'is kept alive by what a spec left' : `ended by itself, with ${signal ?? `exit code ${code}`}`;
          report(lines, { passed: 0, skipped: 0, failures: [`1) ${file ?? 'After the last file'}:\n     the process ${how}`] });
        }
        resolve();
      });
    });
  }

  const work = async () => { do await startProcess(); while (waiting.length > 0); };
  await Promise.all(Array.from({ length: Math.min(processes, groups.length) }, work));
  return total;
}
