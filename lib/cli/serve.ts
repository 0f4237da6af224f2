import { readFile } from 'node:fs/promises';
import type { FastifyInstance, FastifyListenOptions } from 'fastify';
import { DEFAULT_LIMITS } from '../jobs/picture_request.js';
import type { Device } from '../runtime/devices.js';
import { createServer, RedisEngine, type ServerOptions } from '../server/index.js';
import { startTracing } from '../server/start_tracing.js';
import { DEMO_MODEL } from './load_pipeline.js';
import { nameSources } from './name_sources.js';
import { parseSize } from './parse_size.js';
import { sharedStore, type StoreCommandOptions } from './shared_store.js';
import { untilSignal } from './until_signal.js';
import { UsageError } from './usage_error.js';

/** What machines that draw take. */
export interface DrawCommandOptions extends StoreCommandOptions {
  /** `name=source` or a source, each. */
  model?: string[];
  lora?: string[];
  device?: Device | 'auto';
  dtype?: 'float32' | 'float16' | 'bfloat16';
  maxBatch?: number;
  maxMemory?: string;
  maxSteps?: number;
  maxPixels?: number;
}

export interface ServeCommandOptions extends DrawCommandOptions {
  host: string;
  port: number;
  apiKeys?: string;
  cors?: string[];
  maxQueue?: number;
  log?: boolean;
  logPrompts?: boolean;
}

/** `tfjs-diffusers serve` */
export async function serve(options: ServeCommandOptions): Promise<void> {
  const { host, port, apiKeys: file, cors, logPrompts, log = logPrompts, redis } = options;
  const apiKeys = await readKeys(file);
  const limits = givenLimits(options);
  const endTracing = await startTracing();
  const engine = redis === undefined ? await embedded(options) : { engine: await distributed(options, redis) };
  const server = await createServer({ ...engine, limits, apiKeys, cors, logger: log, logPrompts });
  const address = await listen(server, { host, port }, () => server.close());
  const routes = "OpenAI's images API below /v1, AUTOMATIC1111's below /sdapi/v1, jobs at /jobs, what there is at /openapi.json";
  console.log(`${redis === undefined ? Object.keys((engine as ServerOptions).models!).join(', ') : 'a queue'} at ${address} (${routes})`);
  if (!['127.0.0.1', '::1', 'localhost'].includes(host) && apiKeys.length === 0) {
    console.warn('Whoever reaches this address may use it: --api-keys names a file of keys, of which each request then brings one');
  }
  await untilSignal();
  await server.close();
  await endTracing();
}

/** Comes back with the address. @param instead what is done first where that cannot be had: what runs would keep the process. */
export async function listen(server: FastifyInstance, where: FastifyListenOptions, instead: () => Promise<void>): Promise<string> {
  try {
    return await server.listen(where);
  } catch (error) {
    await instead();
    throw error;
  }
}

/** Of those that all requests share, what was said. */
export function givenLimits(options: Pick<ServeCommandOptions, 'maxQueue' | 'maxSteps' | 'maxPixels'>): ServerOptions['limits'] {
  const { maxQueue, maxSteps, maxPixels } = options;
  return Object.fromEntries(Object.entries({ maxQueue, maxSteps, maxPixels }).filter(([, value]) => value !== undefined));
}

/** What draws, and by what. @throws UsageError */
export function drawing({ model, lora, device = 'auto', dtype = 'float32', maxBatch, maxMemory }: DrawCommandOptions) {
  return {
    models: nameSources('--model', model ?? [`shapes=${DEMO_MODEL}`]), loras: nameSources('--lora', lora ?? []), load: { device, dtype },
    maxBatch, maxMemory: parseSize('--max-memory', maxMemory),
  };
}

async function embedded(options: ServeCommandOptions): Promise<ServerOptions> {
  return { ...drawing(options), store: await sharedStore(options), keepSeconds: options.keep };
}

/** @throws UsageError for what is said to the wrong end. */
async function distributed(options: ServeCommandOptions, url: string): Promise<RedisEngine> {
  const { model, lora, device, dtype, maxBatch, maxMemory, maxQueue = DEFAULT_LIMITS.maxQueue, keep: keepSeconds } = options;
  const ofWorkers = { model, lora, device, dtype, 'max-batch': maxBatch, 'max-memory': maxMemory };
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
