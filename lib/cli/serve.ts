import { readFile } from 'node:fs/promises';
import { DEFAULT_LIMITS } from '../jobs/picture_request.js';
import { createServer, RedisEngine, type ServerOptions } from '../server/index.js';
import { startTracing } from '../server/start_tracing.js';
import { drawing, givenLimits, type DrawCommandOptions } from './drawing.js';
import { listen } from './listen.js';
import { parseSize } from './parse_size.js';
import { sharedStore } from './shared_store.js';
import { untilSignal } from './until_signal.js';
import { UsageError } from './usage_error.js';

export interface ServeCommandOptions extends DrawCommandOptions {
  host: string;
  port: number;
  apiKeys?: string;
  cors?: string[];
  maxQueue?: number;
  maxWaiting?: string;
  log?: boolean;
  logPrompts?: boolean;
}

/** `tfjs-diffusers serve` */
export async function serve(options: ServeCommandOptions): Promise<void> {
  const { host, port, apiKeys: file, cors, logPrompts, log = logPrompts, redis } = options;
  const apiKeys = await readKeys(file);
  const maxWaitingBytes = parseSize('--max-waiting', options.maxWaiting);
  const limits = { ...givenLimits(options), ...maxWaitingBytes !== undefined && { maxWaitingBytes } };
  const endTracing = await startTracing();
  const source: ServerOptions = redis === undefined ? await embedded(options) : { engine: await distributed(options, redis) };
  const server = await createServer({ ...source, limits, apiKeys, cors, logger: log, logPrompts });
  const address = await listen(server, { host, port }, () => server.close());
  const routes = "OpenAI's images API below /v1, AUTOMATIC1111's below /sdapi/v1, jobs at /jobs, what there is at /openapi.json";
  console.log(`${source.models ? Object.keys(source.models).join(', ') : 'a queue'} at ${address} (${routes})`);
  if (!['127.0.0.1', '::1', 'localhost'].includes(host) && apiKeys.length === 0) {
    console.warn('Whoever reaches this address may use it: --api-keys names a file of keys, of which each request then brings one');
  }
  await untilSignal();
  await server.close();
  await endTracing();
}

async function embedded(options: ServeCommandOptions): Promise<ServerOptions> {
  return { ...drawing(options), store: await sharedStore(options), keepSeconds: options.keep };
}

/** @throws UsageError for what is said to the wrong end. */
async function distributed(options: ServeCommandOptions, url: string): Promise<RedisEngine> {
  const { model, lora, device, dtype, safetyChecker, t5, maxBatch, maxMemory } = options;
  const { maxQueue = DEFAULT_LIMITS.maxQueue, keep: keepSeconds } = options;
  const ofWorkers = {
    model, lora, device, dtype, 'safety-checker': safetyChecker, 'no-t5': t5 === false || undefined,
    'max-batch': maxBatch, 'max-memory': maxMemory,
  };
  const [wrong] = Object.entries(ofWorkers).find(([, value]) => value !== undefined) ?? [];
  if (wrong) throw new UsageError(`--${wrong}: is for those that draw; with --redis, give it to tfjs-diffusers work`);
  return new RedisEngine({ url, store: (await sharedStore(options))!, maxQueue, keepSeconds });
}

async function readKeys(file?: string): Promise<string[]> {
  const text = file === undefined ? process.env.TFJS_DIFFUSERS_API_KEYS ?? '' : await readFile(file, 'utf8').catch((error: Error) => {
    throw new Error(`--api-keys: ${file} cannot be read: ${error.message}`, { cause: error });
  });
  const keys = text.split(/[\s,]+/).filter(Boolean);
  if (file !== undefined && keys.length === 0) throw new UsageError(`--api-keys: ${file} holds no key`);
  return keys;
}
