import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Device } from '../runtime/devices.js';
import { createServer } from '../server/index.js';
import { startTracing } from '../server/start_tracing.js';
import { DEMO_MODEL } from './load_pipeline.js';
import { UsageError } from './usage_error.js';

export interface ServeCommandOptions {
  /** `name=source` or a source, each. */
  model?: string[];
  lora?: string[];
  host: string;
  port: number;
  device: Device | 'auto';
  dtype: 'float32' | 'float16' | 'bfloat16';
  apiKeys?: string;
  maxQueue?: number;
  maxSteps?: number;
  maxPixels?: number;
  log?: boolean;
}

/** `tfjs-diffusers serve` */
export async function serve(options: ServeCommandOptions): Promise<void> {
  const { host, port, device, dtype, apiKeys: file, maxQueue, maxSteps, maxPixels, log } = options;
  const models = named('--model', options.model ?? [`shapes=${DEMO_MODEL}`]);
  const apiKeys = await readKeys(file);
  const limits = Object.fromEntries(Object.entries({ maxQueue, maxSteps, maxPixels }).filter(([, value]) => value !== undefined));
  const loras = named('--lora', options.lora ?? []);
  const endTracing = await startTracing();
  const server = await createServer({ models, loras, load: { device, dtype }, limits, apiKeys, logger: log });
  const address = await server.listen({ host, port });
  const routes = "OpenAI's images API below /v1, jobs at /jobs, what there is at /openapi.json";
  console.log(`${Object.keys(models).join(', ')} at ${address} (${routes})`);
  if (!['127.0.0.1', '::1', 'localhost'].includes(host) && apiKeys.length === 0) {
    console.warn('Whoever reaches this address may use it: --api-keys names a file of keys, of which each request then brings one');
  }
  await endBySignal(server);
  await endTracing();
}

/** Comes back when the server has ended: what runs is finished, what waits is refused. */
async function endBySignal(server: FastifyInstance): Promise<void> {
  await new Promise<void>(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  console.log('ending: what runs is finished');
  await server.close();
}

/** 'anime=models/anime' -> its name and place; 'models/anime' is called anime. */
function named(option: string, sources: readonly string[]): Record<string, string> {
  const entries = sources.map(text => {
    const [, name = basename(text).replace(/\.(safetensors|ckpt)$/i, ''), source = text] = /^([\w.-]+)=(.+)$/s.exec(text) ?? [];
    return [name, source] as const;
  });
  const names = entries.map(([name]) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new UsageError(`${option}: got two of the name '${twice}', takes another for one of them, as in other=${twice}`);
  }
  return Object.fromEntries(entries);
}

async function readKeys(file?: string): Promise<string[]> {
  const text = file === undefined ? process.env.TFJS_DIFFUSERS_API_KEYS ?? '' : await readFile(file, 'utf8').catch((error: Error) => {
    throw new Error(`--api-keys: ${file} cannot be read: ${error.message}`, { cause: error });
  });
  const keys = text.split(/[\s,]+/).filter(Boolean);
  if (file !== undefined && keys.length === 0) throw new UsageError(`--api-keys: ${file} holds no key`);
  return keys;
}
