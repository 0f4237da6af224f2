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
const PATIENCE = 120_000;

/** A file that is run, or was: what its process told of it so far. */
interface Run {
  readonly file: string;
  readonly lines: unknown[][];
  result?: Result;
}

/**
 * Runs files of specs in processes side by side. mocha's own parallel mode will not do: where a process ends by itself, it falls silent and exits
 * with 0 (mocha 12, workerpool 10). Here that is a failure, and another process takes what is left.
 * @param groups each is run in one process, the first of them first.
 */
export async function runSpecs(groups: ReadonlyArray<readonly string[]>, { processes = 2, print = console.log as (...line: unknown[]) => void } = {}): Promise<Result> {
  const waiting = groups.map(group => [...group]);
  const total: Result = { passed: 0, skipped: 0, failures: [] };
  const runs: Run[] = [];
  let started = 0;
  let failed = 0;

  /** Prints what is known of the file that was begun first, and of others when those before are whole. */
  function show(): void {
    for (let run = runs.at(0); run; run = runs.at(0)) {
      for (const line of run.lines.splice(0)) {
        if (String(line[0]).includes('%d) %s')) line[1] = ++failed; // mocha counts anew in each file
        print(...line);
      }
      if (!run.result) return;
      total.passed += run.result.passed;
      total.skipped += run.result.skipped;
      failed = total.failures.push(...run.result.failures);
      runs.shift();
    }
  }

  /** Runs files until there are none or the process ends. */
  function startProcess(): Promise<void> {
    // Most tensors here are too small to share out: TensorFlow's threads would cost more than they save.
    const child = fork(program, { env: { TF_NUM_INTRAOP_THREADS: '1', ...process.env, SPEC_PROCESS: `${started++}` } });
    let group: string[] = [];
    let run: Run | undefined;
    let timer: NodeJS.Timeout | undefined;
    let stuck = false;
    const endStuck = () => { stuck = child.kill('SIGKILL'); };
    const next = () => {
      if (group.length === 0) group = waiting.shift() ?? [];
      const file = group.shift();
      run = file === undefined ? undefined : { file, lines: [] };
      if (run) runs.push(run);
      else timer = setTimeout(endStuck, PATIENCE);
      child.send(file ?? '', () => undefined); // where it cannot be sent, the process is about to end
    };
    const finish = (result: Result) => {
      run!.result = result;
      show();
    };
    next();
    child.on('message', (message: Message) => {
      if ('result' in message) {
        finish(message.result);
        return next();
      }
      run!.lines.push(message.line);
      show();
    });
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        child.removeAllListeners('message');
        clearTimeout(timer);
        if (group.length > 0) waiting.unshift(group);
        if (run || code !== 0) {
          if (!run) runs.push(run = { file: 'After the last file', lines: [] });
          const how = stuck ? 'is kept alive by what a spec left' : `ended by itself, with ${signal ?? `exit code ${code}`}`;
          finish({ passed: 0, skipped: 0, failures: [`1) ${run.file}:\n     the process ${how}`] });
        }
        resolve();
      });
    });
  }

  const work = async () => { do await startProcess(); while (waiting.length > 0); };
  await Promise.all(Array.from({ length: Math.min(processes, groups.length) }, work));
  return total;
}
