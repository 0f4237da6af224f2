import { wrap, type Endpoint, type Remote } from 'comlink';
import { MessageChannel, SHARE_ENV, Worker } from 'node:worker_threads';
import type { PipelineHost } from './host.js';

/** A thread of its own, with the host of its pipelines. */
export interface RunningWorker {
  readonly host: Remote<PipelineHost>;
  /** Rejected when the thread ends. */
  readonly ended: Promise<never>;
  /** Whether the process goes on because of it. */
  keepAlive(alive: boolean): void;
  terminate(): Promise<unknown>;
}

/** Starts one, which shares the environment: what the native backend sets there, TensorFlow reads. `quiet`: what it prints is dropped. */
export function startWorker({ quiet = false } = {}): RunningWorker {
  const { port1: here, port2: port } = new MessageChannel();
  const worker = new Worker(new URL('./host_in_node.js', import.meta.url), {
    env: SHARE_ENV, workerData: { port }, transferList: [port], stdout: quiet, stderr: quiet,
  });
  if (quiet) for (const stream of [worker.stdout, worker.stderr]) stream.resume(); // to nowhere
  const ended = new Promise<never>((_, reject) => {
    worker.on('error', error => reject(new Error(`createWorkerPipeline: the worker failed: ${error.message}`, { cause: error })));
    worker.on('exit', code => reject(new Error(`createWorkerPipeline: the worker has ended${code ? `, with exit code ${code}` : ''}`)));
  });
  ended.catch(() => {}); // who waits for a call hears of it there
  return {
    host: wrap<PipelineHost>(here as unknown as Endpoint),
    ended,
    keepAlive: alive => [worker, here].forEach(each => { if (alive) each.ref(); else each.unref(); }),
    terminate: () => worker.terminate(),
  };
}
