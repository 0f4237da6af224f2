import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { ModelDescription } from '../../pipelines/describe_model.js';
import type { Engine } from '../engine.js';
import { EndingError, RequestError } from '../errors.js';
import { Job } from '../job.js';
import { KnownJobs } from '../known_jobs.js';
import { Metrics } from '../metrics.js';
import type { AcceptedRequest } from '../picture_request.js';
import { isJobId } from '../stores/picture_names.js';
import { KEEP_SECONDS, type PictureStore } from '../stores/picture_store.js';
import { WaitingRoom, type Waiting } from '../waiting_room.js';
import { Roster, type WorkerDescription } from './announcement.js';
import { sendCancellation } from './cancellation.js';
import { RedisConnection, type RedisOptions } from './connection.js';
import { forget, layAside } from './job_data.js';
import { ModelQueue, type TryOptions } from './model_queue.js';

export interface RedisEngineOptions extends RedisOptions, Partial<TryOptions> {
  /** Where workers write pictures: one that they share with this server. */
  readonly store: PictureStore;
  /** Requests that wait, at most, and as many again with a delay. Several servers at once may pass it by a few. */
  readonly maxQueue: number;
  /** Milliseconds that what runs may go on when the server ends, for those who wait here; 30 s by default. */
  readonly patience?: number;
}

const AWAY = new RequestError('the queue cannot be reached at the moment', 503);
/** What events did not tell is looked up so often, in milliseconds. */
const SYNC = 10_000;

/** What is there once it has been started. */
interface Started {
  readonly redis: RedisConnection;
  readonly roster: Roster;
  readonly timer: NodeJS.Timeout;
}

/** A server's end of a queue in Redis, by BullMQ: pictures are drawn by workers on other machines. */
export class RedisEngine implements Engine {
  readonly metrics = new Metrics();
  readonly store: PictureStore;
  private started?: Started;
  private closed = false;
  private readonly keepSeconds: number;
  private readonly jobs: KnownJobs;
  private readonly queues = new Map<string, Promise<ModelQueue>>();
  private readonly cancelling = new Set<Promise<void>>();
  /** Requests that were let in and are on their way to Redis. */
  private readonly arriving = { ready: 0, delayed: 0 };
  private readonly room: WaitingRoom;

  constructor(private readonly options: RedisEngineOptions) {
    this.store = options.store;
    this.keepSeconds = options.keepSeconds ?? KEEP_SECONDS;
    this.jobs = new KnownJobs(this.keepSeconds);
    this.room = new WaitingRoom(options.maxQueue);
  }

  get models(): readonly string[] { return this.started?.roster.models ?? []; }
  get loras(): readonly string[] { return this.started?.roster.loras ?? []; }
  get ready(): boolean { return !this.closed && this.started?.redis.ready === true && this.models.length > 0; }

  describe(model: string): ModelDescription | undefined {
    const descriptions = this.started?.roster.workers.map(worker => worker.descriptions ?? {}) ?? [];
    return descriptions.find(each => Object.hasOwn(each, model))?.[model];
  }

  /** The machines that draw. */
  async workers(): Promise<readonly WorkerDescription[]> {
    return this.started?.roster.workers ?? [];
  }

  /** @throws Error of one line where Redis cannot be reached. */
  async start(): Promise<void> {
    const redis = await RedisConnection.open(this.options);
    const timer = setInterval(() => { if (redis.ready) void this.sync().catch(() => {}); }, SYNC);
    this.started = { redis, roster: await Roster.open(redis), timer };
  }

  async admit(): Promise<void> {
    this.check(await this.count());
  }

  async submit(request: AcceptedRequest): Promise<Job> {
    const queue = await this.queueOf(request.model);
    this.check(await this.count(), request.delay);
    const kind = request.delay ? 'delayed' : 'ready';
    this.arriving[kind]++;
    try {
      const job = new Job(request);
      const data = await layAside(job, this.store);
      job.dropPictures();
      this.follow(job);
      try {
        await queue.add(job, data, { ...this.options, keepSeconds: this.keepSeconds });
      } catch (error) {
        this.jobs.delete(job);
        await forget(data, job.id, this.store);
        throw error;
      }
      return job;
    } finally {
      this.arriving[kind]--;
    }
  }

  /** Also those that another server took, or this one before it began anew. */
  async find(id: string): Promise<Job | undefined> {
    const known = this.jobs.get(id);
    if (known || !isJobId(id)) return known;
    for (const model of await this.reachable().knownModels()) {
      const queue = await this.queueOf(model);
      const found = await queue.find(id);
      if (!found) continue;
      const job = this.jobs.get(id) ?? found; // asked for twice at once
      this.follow(job);
      await queue.sync(job);
      return job;
    }
    return undefined;
  }

  async placeOf(job: Job): Promise<number | undefined> {
    if (job.state !== 'waiting') return undefined;
    return (await this.queueOf(job.request.model)).placeOf(job.id);
  }

  async waiting(): Promise<number> {
    const { ready, delayed } = await this.count();
    return ready + delayed;
  }

  /** Jobs go on without this server. Those who wait here for one that runs get it, those who wait for another are sent elsewhere. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const running = this.jobs.unfinished.filter(({ state }) => state === 'running');
    for (const job of this.jobs.unfinished) if (!running.includes(job)) job.leave(new EndingError());
    const enough = new AbortController();
    await Promise.race([
      Promise.allSettled(running.map(({ finished }) => finished)),
      sleep(this.options.patience ?? 30_000, undefined, { signal: enough.signal }).catch(() => {}),
    ]);
    enough.abort();
    for (const job of this.jobs.unfinished) job.leave(new EndingError());
    await nextTurn(); // in which those who hear of it may want theirs no more
    await Promise.all(this.cancelling);
    await this.leaveRedis();
    await this.store.close?.();
  }

  private check({ ready, delayed }: Waiting, delay?: number): void {
    if (this.closed) throw new EndingError();
    this.room.check({ ready: ready + this.arriving.ready, delayed: delayed + this.arriving.delayed }, delay);
  }

  /** Of all queues. */
  private async count(): Promise<Waiting> {
    if (!this.started?.redis.ready) return { ready: 0, delayed: 0 };
    for (const model of this.models) await this.queueOf(model);
    const queues = await Promise.all(this.queues.values());
    const counts = await Promise.all(queues.map(queue => queue.waiting()));
    const sum = (kind: keyof Waiting) => counts.reduce((all, { [kind]: some }) => all + some, 0);
    return { ready: sum('ready'), delayed: sum('delayed') };
  }

  private async leaveRedis(): Promise<void> {
    if (!this.started) return;
    const { redis, roster, timer } = this.started;
    clearInterval(timer);
    roster.close();
    const closing = Promise.allSettled(this.queues.values()).then(all => Promise.allSettled(
      all.map(async opened => { if (opened.status === 'fulfilled') await opened.value.close(); }),
    ));
    if (redis.ready) await closing;
    await redis.close();
  }

  private follow(job: Job): void {
    this.jobs.add(job);
    job.signal.addEventListener('abort', () => {
      const cancelling = this.cancel(job).catch(() => {}); // without Redis nobody can be told: it is drawn for nobody
      this.cancelling.add(cancelling);
      void cancelling.then(() => this.cancelling.delete(cancelling));
    });
  }

  /** What waits is taken out; whoever draws it is told, whenever that is. */
  private async cancel(job: Job): Promise<void> {
    const removed = await (await this.queueOf(job.request.model)).remove(job.id);
    if (!removed) return sendCancellation(this.reachable(), job.id);
    job.fail(job.signal.reason as Error);
    await forget(removed, job.id, this.store);
  }

  private async sync(): Promise<void> {
    for (const job of this.jobs.unfinished) await (await this.queueOf(job.request.model)).sync(job);
  }

  private reachable(): RedisConnection {
    if (!this.started?.redis.ready) throw AWAY;
    return this.started.redis;
  }

  private queueOf(model: string): Promise<ModelQueue> {
    const opened = this.queues.get(model);
    const redis = this.reachable();
    if (opened) return opened;
    const opening = redis.rememberModel(model)
      .then(() => ModelQueue.open(redis, model, id => this.jobs.get(id), took => this.room.took(took)));
    opening.catch(() => this.queues.delete(model));
    this.queues.set(model, opening);
    return opening;
  }
}
