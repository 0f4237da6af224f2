import type { ModelDescription } from '../pipelines/describe_model.js';
import { BatchQueue } from './batch_queue.js';
import type { Engine } from './engine.js';
import { EndingError, isAboutTheRequest, toLine } from './errors.js';
import { Job } from './job.js';
import { KnownJobs } from './known_jobs.js';
import { Metrics } from './metrics.js';
import { ModelPool, type ModelPoolOptions } from './model_pool.js';
import { Painter } from './painter.js';
import type { AcceptedRequest, ServerLimits } from './picture_request.js';
import { MemoryStore } from './stores/memory_store.js';
import type { PictureStore } from './stores/picture_store.js';
import { WaitingRoom } from './waiting_room.js';

/** Options of an `EmbeddedEngine`. */
export interface EmbeddedEngineOptions extends ModelPoolOptions {
  /** Requests that wait, at most, and as many again with a delay. */
  readonly maxQueue: number;
  /** Pictures that are drawn at once; 1 by default. */
  readonly maxBatch?: number;
  /** What a request may ask for, as far as it shows only when it is drawn. */
  readonly limits?: Pick<ServerLimits, 'maxSteps' | 'maxPixels'>;
  /** Where pictures are kept; in memory by default. */
  readonly store?: PictureStore;
  /** For how long a job that is over can be asked for; ten minutes by default. */
  readonly keepSeconds?: number;
  /** Milliseconds that what runs may go on when the engine ends; 30 s by default. */
  readonly patience?: number;
  /** Hears in one line what goes wrong and is no request's fault; it is printed by default. */
  readonly onTrouble?: (message: string) => void;
}

/** A queue in this process, and models in worker threads. */
export class EmbeddedEngine implements Engine {
  readonly metrics = new Metrics();
  readonly store: PictureStore;
  readonly models: readonly string[];
  readonly loras: readonly string[];
  private readonly pool: ModelPool;
  private readonly queue: BatchQueue;
  private readonly jobs: KnownJobs;
  private readonly delayed = new Set<Job>();
  private readonly room: WaitingRoom;
  private state: 'new' | 'ready' | 'closed' = 'new';

  constructor(private readonly options: EmbeddedEngineOptions) {
    const { models, loras = {}, store, keepSeconds, maxBatch = 1, maxQueue, limits, onTrouble = console.error } = options;
    this.models = Object.keys(models);
    this.loras = Object.keys(loras);
    this.store = store ?? new MemoryStore(keepSeconds);
    this.jobs = new KnownJobs(keepSeconds);
    this.room = new WaitingRoom(maxQueue);
    this.pool = new ModelPool(options);
    const painter = new Painter(this.pool, this.store, this.metrics, limits);
    this.queue = new BatchQueue(async jobs => {
      const started = performance.now();
      await painter.paint(jobs);
      for (const { id, state, error } of jobs) {
        if (state === 'failed' && !isAboutTheRequest(error!)) onTrouble(`job ${id}: ${toLine(error!)}`);
      }
      this.room.took((performance.now() - started) / jobs.length);
    }, maxBatch);
  }

  /** Loads the first model, so that the first request need not wait for it. */
  async start(): Promise<void> {
    await this.pool.get(this.models[0]);
    this.state = 'ready';
  }

  get ready(): boolean { return this.state === 'ready'; }

  describe(model: string): ModelDescription | undefined {
    return this.pool.descriptions.get(model);
  }

  async admit(): Promise<void> {
    this.check();
  }

  async submit(request: AcceptedRequest): Promise<Job> {
    this.check(request.delay);
    const job = new Job(request);
    this.jobs.add(job);
    if (request.delay) this.delay(job, request.delay);
    else this.queue.add(job);
    return job;
  }

  async find(id: string): Promise<Job | undefined> {
    return this.jobs.get(id);
  }

  async placeOf(job: Job): Promise<number | undefined> {
    return this.queue.placeOf(job);
  }

  async waiting(): Promise<number> {
    return this.queue.waiting + this.delayed.size;
  }

  async close(): Promise<void> {
    this.state = 'closed';
    const ending = new EndingError();
    for (const job of this.delayed) job.cancel(ending);
    await this.queue.close(ending, this.options.patience ?? 30_000);
    await this.pool.dispose();
    await this.store.close?.();
  }

  private check(delay?: number): void {
    if (this.state === 'closed') throw new EndingError();
    this.room.check({ ready: this.queue.waiting, delayed: this.delayed.size }, delay);
  }

  private delay(job: Job, seconds: number): void {
    this.delayed.add(job);
    const timer = setTimeout(() => {
      this.delayed.delete(job);
      this.queue.add(job);
    }, seconds * 1000);
    job.signal.addEventListener('abort', () => {
      if (!this.delayed.delete(job)) return; // the queue has it
      clearTimeout(timer);
      job.fail(job.signal.reason as Error);
    });
  }
}
