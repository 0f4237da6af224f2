import { createHealthServer, RedisWorker } from '../server/index.js';
import { startTracing } from '../server/start_tracing.js';
import { drawing, givenLimits, type DrawCommandOptions } from './drawing.js';
import { listen } from './listen.js';
import { sharedStore } from './shared_store.js';
import { untilSignal } from './until_signal.js';

export interface WorkCommandOptions extends DrawCommandOptions {
  redis: string;
  lostAfter?: number;
  maxPerMinute?: number;
  host: string;
  port?: number;
}

/** `tfjs-diffusers work` */
export async function work(options: WorkCommandOptions): Promise<void> {
  const { redis: url, lostAfter, maxPerMinute: max, host, port } = options;
  const store = (await sharedStore(options))!;
  const endTracing = await startTracing();
  const worker = new RedisWorker({
    url, store, lostAfter, limits: givenLimits(options), ...drawing(options),
    ...max !== undefined && { limiter: { max, duration: 60_000 } },
  });
  await worker.start();
  const health = port === undefined ? undefined : createHealthServer(worker);
  const address = health && await listen(health, { host, port }, () => worker.close());
  console.log(`${worker.models.join(', ')} on ${worker.device}, waiting for work${address ? `; ${address}/metrics` : ''}`);
  await untilSignal();
  await worker.close();
  await health?.close();
  await endTracing();
  process.exit(); // a connection that waits for a Redis that has gone would keep the process
}
