import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** By which a process knows that the one that started it supervises it. */
const SUPERVISOR = 'TFJS_DIFFUSERS_SUPERVISOR';

/**
 * Does the command's work in another process like this one, and gives its exit code: an op can take minutes, and hears no signal.
 * The first Ctrl-C, or SIGINT, tells it to end after its step, another one ends it at once. Does `work` if this is that process.
 */
export async function supervise(work: () => Promise<void>): Promise<number> {
  if (process.env[SUPERVISOR] === String(process.ppid)) {
    process.on('disconnect', () => process.exit(1)); // nobody waits for it any more
    process.channel?.unref(); // which is no reason to go on either
    await work();
    return 0;
  }
  const worker = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'], env: { ...process.env, [SUPERVISOR]: String(process.pid) },
  });
  let interrupted = false;
  process.on('SIGINT', () => {
    worker.kill(interrupted ? 'SIGKILL' : 'SIGINT'); // a terminal has told it too: the same again
    interrupted = true;
  });
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => worker.kill(signal));
  const { code, signal } = await new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('close', (code, signal) => resolve({ code, signal }));
  });
  if (signal === null) return code!;
  if (interrupted) console.error('interrupted');
  else console.error(`error: was ended by ${signal}${signal === 'SIGKILL' ? ', as when memory runs out' : ''}`);
  return 128 + constants.signals[interrupted ? 'SIGINT' : signal];
}

/** Aborted by SIGINT, however often it comes: who is supervised is ended from there. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  process.on('SIGINT', () => controller.abort());
  return controller.signal;
}
