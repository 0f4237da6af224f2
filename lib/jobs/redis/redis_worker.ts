import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job as BullJob, Worker } from 'bullmq';
import { schedulerClasses } from '../../schedulers/index.js';
import { BatchQueue } from '../batch_queue.js';
import { CancelledError, isAboutTheRequest, RequestError, toLine } from '../errors.js';
import { Job } from '../job.js';
import { Metrics } from '../metrics.js';
import { ModelPool, type ModelPoolOptions } from '../model_pool.js';
import { Painter } from '../painter.js';
import { DEFAULT_LIMITS, quote, requestChecker, type AcceptedRequest, type ServerLimits } from '../picture_request.js';
import { isJobId } from '../stores/picture_names.js';
import type { PictureStore } from '../stores/picture_store.js';
import { Announcement, type WorkerDescription } from './announcement.js';
import { listenForCancellation } from './cancellation.js';
import { queueName, RedisConnection, type RedisOptions } from './connection.js';
import { errorToText, forget, progressOf, resultOf, takeUp, traceOf, type JobData, type JobResult } from './job_data.js';

export interface RedisWorkerOptions extends RedisOptions, ModelPoolOptions {
  /** Where pictures go: one that servers share with this worker. */
  readonly store: PictureStore;
  /** What is refused even where a server let it pass. */
  readonly limits?: Partial<ServerLimits>;
  /** Pictures that are drawn at once, and requests of a model that are taken at once; 1 by default. */
  readonly maxBatch?: number;
  /** Seconds after which a worker that says nothing counts as dead, and others do its work; 15 by default. */
  readonly lostAfter?: number;
  /** Of each model: requests that all workers together begin, at most, in so many milliseconds. */
  readonly limiter?: { readonly max: number; readonly duration: number };
  /** Milliseconds that what runs may go on when the worker ends; 30 s by default. */
  readonly patience?: number;
}

/** Its job goes to another machine. */
const LEAVING = new Error('this worker is about to end');
/** A job that ends its worker so often is given up: it may be what does that. */
const MAX_STALLED = 2;
/** Milliseconds in which requests that were fetched one after the other can become one batch. */
const GATHERING = 20;
/** Milliseconds for telling Redis how it all ended. */
const FAREWELL = 5000;

/** A machine's end of a queue in Redis, by BullMQ: draws what servers took. */
export class RedisWorker {
  readonly metrics = new Metrics();
  readonly id = randomUUID();
  readonly models: readonly string[];
  /** What the first model runs on; undefined before it is loaded. */
  device?: string;
  private readonly pool: ModelPool;
  private readonly queue: BatchQueue;
  private readonly check: ReturnType<typeof requestChecker>;
  private readonly since = Date.now();
  private state: 'new' | 'ready' | 'closed' = 'new';
  private redis!: RedisConnection;
  private workers: ReadonlyArray<Worker<JobData, JobResult>> = [];
  private announcement?: Announcement;

  /** @throws TypeError if no model is named. */
  constructor(private readonly options: RedisWorkerOptions) {
    const { models, store, maxBatch = 1 } = options;
    this.models = Object.keys(models);
    if (this.models.length === 0) throw new TypeError('models: got none, takes the name and the place of at least one');
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.check = requestChecker({ limits, schedulers: Object.keys(schedulerClasses) });
    this.pool = new ModelPool(options);
    const painter = new Painter(this.pool, store, this.metrics, limits);
    this.queue = new BatchQueue(jobs => painter.paint(jobs), maxBatch, maxBatch > 1 ? GATHERING : 0);
  }

  /** Loads the first model, and takes work from then on. @throws Error of one line where Redis cannot be reached. */
  async start(): Promise<void> {
    this.redis = await RedisConnection.open(this.options);
    try {
      this.device = (await this.pool.get(this.models[0])).device;
    } catch (error) {
      await this.redis.close();
      throw error;
    }
    this.workers = this.models.map(model => this.workerFor(model));
    this.announcement = await Announcement.begin(this.redis, () => this.describe());
    this.state = 'ready';
  }

  get ready(): boolean { return this.state === 'ready' && this.redis.ready; }

  /** How many requests were taken and wait for their turn here. */
  async waiting(): Promise<number> {
    return this.queue.waiting;
  }

  /** Takes nothing more. What runs is finished if it does not take too long; the rest goes back to its queue, for others. */
  async close(): Promise<void> {
    if (this.state === 'closed') return;
    this.state = 'closed';
    await this.announcement?.close();
    const closing = Promise.all(this.workers.map(worker => worker.close())); // takes nothing more from here on
    await this.queue.close(LEAVING, this.options.patience ?? 30_000);
    const enough = new AbortController();
    await Promise.race([closing, sleep(FAREWELL, undefined, { signal: enough.signal }).catch(() => {})]);
    enough.abort();
    await this.redis.close();
    await this.pool.dispose();
    await this.options.store.close?.();
  }

  private describe(): WorkerDescription {
    const { loras = {}, maxBatch = 1 } = this.options;
    return {
      id: this.id, host: hostname(), pid: process.pid, device: this.device, models: this.models, loras: Object.keys(loras),
      inMemory: this.pool.inMemory, descriptions: Object.fromEntries(this.pool.descriptions), maxBatch, since: this.since,
    };
  }

  private workerFor(model: string): Worker<JobData, JobResult> {
    const { maxBatch: concurrency = 1, lostAfter = 15, limiter } = this.options;
    const { bullmq, common } = this.redis;
    const lockDuration = lostAfter * 1000;
    const worker = new bullmq.Worker<JobData, JobResult>(
      queueName(model), (bull, token, signal) => this.process(model, bull, token!, signal!),
      { ...common, name: this.id, concurrency, lockDuration, stalledInterval: lockDuration / 2, maxStalledCount: MAX_STALLED, limiter },
    );
    this.redis.watch(worker);
    worker.on('lockRenewalFailed', ids => { // another does it now
      for (const id of ids) worker.cancelJob(id);
    });
    return worker;
  }

  private async process(model: string, bull: BullJob<JobData, JobResult>, token: string, lost: AbortSignal): Promise<JobResult> {
    const { store } = this.options;
    try {
      const job = new Job(await this.requestOf(model, bull), bull.id, bull.timestamp, traceOf(bull.data));
      const result = await this.draw(job, bull, lost);
      await forget(bull.data, job.id, store);
      return result;
    } catch (error) {
      const { UnrecoverableError, WaitingError } = this.redis.bullmq;
      if (error === LEAVING) {
        await bull.moveToWait(token);
        throw new WaitingError();
      }
      const text = errorToText(error as Error);
      if (isAboutTheRequest(error as Error)) {
        if (isJobId(bull.id)) await forget(bull.data, bull.id, store).catch(() => {}); // it may be that what is wrong
        throw new UnrecoverableError(text);
      }
      (this.options.onTrouble ?? console.error)(`job ${bull.id}: ${toLine(error as Error)}`);
      throw new Error(text, { cause: error });
    }
  }

  private async draw(job: Job, bull: BullJob<JobData, JobResult>, lost: AbortSignal): Promise<JobResult> {
    const stopListening = await listenForCancellation(this.redis, job.id, () => job.cancel(new CancelledError()));
    try {
      lost.addEventListener('abort', () => job.cancel(new Error('the lock was lost')));
      if (this.state === 'closed') throw LEAVING;
      job.signal.throwIfAborted();
      let begun = Date.now();
      job.on('change', () => {
        if (job.state !== 'running') return;
        if (job.steps === undefined) begun = Date.now();
        void bull.updateProgress({ ...progressOf(job) }).catch(() => {}); // the next one tells too
      });
      this.queue.add(job);
      await job.finished;
      return resultOf(job, Date.now() - begun);
    } finally {
      await stopListening();
    }
  }

  /** Checked again: other programs can write to that Redis too. */
  private async requestOf(model: string, { id, data }: BullJob<JobData, JobResult>): Promise<AcceptedRequest> {
    if (!isJobId(id)) throw new RequestError('the job: has no id of ours');
    const given = await takeUp(data, id, this.options.store);
    const { loras = {} } = this.options;
    const named = Array.isArray(given.loras) ? given.loras as ReadonlyArray<{ name?: string } | null> : [];
    const request = this.check(given, { models: [model], loras: named.map(lora => lora?.name ?? '') });
    const missing = request.loras?.find(({ name }) => !Object.hasOwn(loras, name));
    if (missing) throw new Error(`this worker has no LoRA ${quote(missing.name)}`); // another may have it
    return request;
  }
}
