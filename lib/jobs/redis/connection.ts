import type { EventEmitter } from 'node:events';
import type { Relay } from 'bullmq';
import type { Redis } from 'ioredis';
import { optionalPackage } from '../optional_package.js';

export interface RedisOptions {
  /** As in redis://user:password@host:6379/0; rediss:// for TLS. */
  readonly url: string;
  /** What every key begins with; 'tfjs-diffusers' by default. */
  readonly prefix?: string;
  /** Hears in one line what goes wrong on the way; it is printed by default. */
  readonly onTrouble?: (message: string) => void;
}

/** BullMQ and ioredis, which are installed where there are several machines. */
function loadPackages() {
  return optionalPackage(async () => ({ bullmq: await import('bullmq'), ioredis: await import('ioredis') }), '--redis', 'bullmq ioredis');
}

/** Redis, and what all of BullMQ's queues there share. */
export class RedisConnection {
  private told = false;

  private constructor(
    readonly client: Redis, readonly bullmq: typeof import('bullmq'), readonly prefix: string,
    /** Messages between processes. */
    readonly relay: Relay,
    private readonly onTrouble: (message: string) => void,
  ) {}

  /** @throws Error of one line if there is no Redis, or a package is missing. TypeError for what is no address. */
  static async open({ url, prefix = 'tfjs-diffusers', onTrouble = console.error }: RedisOptions): Promise<RedisConnection> {
    const host = hostOf(url);
    const { bullmq, ioredis: { Redis } } = await loadPackages();
    const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: null, retryStrategy: times => Math.min(times * 100, 2000) });
    let reason = '';
    client.on('error', (error: Error & { code?: string }) => { reason = error.message || error.code || ''; });
    let relay: Relay | undefined;
    try {
      await client.connect();
      relay = new bullmq.Relay({ connection: client, prefix, leaseDuration: 15_000 });
      await relay.waitUntilReady();
      if (reason) throw new Error(reason); // as for a database that is not there, which ioredis goes on without
    } catch (error) {
      void relay?.close();
      client.disconnect();
      throw new Error(`redis: ${host} cannot be used: ${reason || (error as Error).message}`, { cause: error });
    }
    const connection = new RedisConnection(client, bullmq, prefix, relay, onTrouble);
    connection.watch(client);
    connection.watch(relay);
    client.on('ready', () => { connection.told = false; });
    return connection;
  }

  /** Whether it can be asked for anything at this moment. */
  get ready(): boolean { return this.client.status === 'ready'; }

  /** What queues, workers and events are made with. */
  get common(): { connection: Redis; prefix: string } {
    return { connection: this.client, prefix: this.prefix };
  }

  /** A server that begins anew looks there for jobs that it does not know. */
  async rememberModel(model: string): Promise<void> {
    await this.client.sadd(`${this.prefix}::models`, model);
  }

  knownModels(): Promise<string[]> {
    return this.client.smembers(`${this.prefix}::models`);
  }

  /** Tells of its errors, but once only while Redis is away. */
  watch(emitter: EventEmitter): void {
    emitter.on('error', (error: Error & { code?: string }) => {
      if (this.ready && !error.code) this.onTrouble(`redis: ${error.message}`);
      else if (!this.told) {
        this.told = true;
        this.onTrouble(`redis: cannot be reached, and is tried again: ${error.message || error.code}`);
      }
    });
  }

  async close(): Promise<void> {
    if (this.ready) await this.relay.close();
    else void this.relay.close();
    this.client.disconnect();
  }
}

/** One queue for each model, so that a request goes where its model is. BullMQ takes any name without a colon. */
export function queueName(model: string): string {
  return encodeURIComponent(model);
}

/** Without a password, for messages. */
function hostOf(url: string): string {
  const { protocol, host } = URL.canParse(url) ? new URL(url) : { protocol: '', host: '' };
  if (['redis:', 'rediss:'].includes(protocol)) return host;
  throw new TypeError('redis: takes an address as in redis://localhost:6379');
}
