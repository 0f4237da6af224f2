import type { Job as BullJob, Queue, QueueEvents } from 'bullmq';
import { CancelledError } from '../errors.js';
import { Job } from '../job.js';
import type { Waiting } from '../waiting_room.js';
import { queueName, type RedisConnection } from './connection.js';
import { advance, errorFromText, succeed, type JobData, type JobResult } from './job_data.js';

/** How often a request is tried where nothing is wrong with it, and what is kept of it afterwards. */
export interface TryOptions {
  /** 3 by default. */
  readonly attempts?: number;
  /** Milliseconds before the second try, twice as many before each further one; 1000 by default. */
  readonly backoff?: number;
  /** For how long a job that is over can be asked for. */
  readonly keepSeconds: number;
}

/** In BullMQ 1 comes first, and what has no priority before that. */
const LAST = 11;

/** The server's end of a model's queue: what happens there, happens to the jobs that this server knows. */
export class ModelQueue {
  private constructor(
    readonly model: string, private readonly queue: Queue<JobData, JobResult>, private readonly events: QueueEvents,
    private readonly jobOf: (id: string) => Job | undefined,
  ) {}

  /** @param jobOf of those that this server knows. @param onDone hears how long a job took, in milliseconds. */
  static async open(
    redis: RedisConnection, model: string, jobOf: (id: string) => Job | undefined, onDone: (took: number) => void,
  ): Promise<ModelQueue> {
    const { bullmq: { Queue, QueueEvents }, client, common } = redis;
    const name = queueName(model);
    const queue = new Queue<JobData, JobResult>(name, common);
    redis.watch(queue);
    const [last] = await client.xrevrange(queue.keys.events, '+', '-', 'COUNT', 1); // from here on nothing is missed, however long it takes
    const events = new QueueEvents(name, { ...common, lastEventId: last?.[0] ?? '0-0' });
    redis.watch(events);
    const opened = new ModelQueue(model, queue, events, jobOf);
    opened.listen(onDone);
    return opened;
  }

  /** Safe to repeat: BullMQ takes each id once. */
  async add({ id, createdAt, request: { priority = 0, delay = 0 } }: Job, data: JobData, options: TryOptions): Promise<void> {
    const { attempts = 3, backoff = 1000, keepSeconds: age } = options;
    await this.queue.add('pictures', data, {
      jobId: id, timestamp: createdAt, priority: LAST - priority, delay: delay * 1000,
      attempts, backoff: { type: 'exponential', delay: backoff }, removeOnComplete: { age }, removeOnFail: { age },
    });
  }

  /** A job that somebody put there, as it is now. */
  async find(id: string): Promise<Job | undefined> {
    const found = await this.queue.getJob(id);
    return found && new Job({ ...found.data.request, model: this.model }, id, found.timestamp);
  }

  /** Takes out a job, and gives what was there; undefined for one that a worker has. */
  async remove(id: string): Promise<Partial<JobData> | undefined> {
    const found = await this.queue.getJob(id);
    return found ? found.remove().then(() => found.data, () => undefined) : {};
  }

  async placeOf(id: string): Promise<number | undefined> {
    const place = (await this.queue.getRanges(['waiting', 'prioritized'], 0, -1, true)).indexOf(id);
    return place < 0 ? undefined : place;
  }

  async waiting(): Promise<Waiting> {
    const [all, delayed] = await Promise.all([this.queue.count(), this.queue.getDelayedCount()]);
    return { ready: Math.max(0, all - delayed), delayed };
  }

  /** Does to a job what happened while nobody here heard of it. */
  async sync(job: Job): Promise<void> {
    const state = await this.queue.getJobState(job.id);
    if (state === 'completed' || state === 'failed' || state === 'active') {
      const found = await this.queue.getJob(job.id);
      if (found) this.adopt(job, found, state);
    } else if (state === 'unknown') job.fail(new CancelledError());
    else if (job.state === 'running') job.goBack();
  }

  async close(): Promise<void> {
    await this.events.close();
    await this.queue.close();
  }

  private adopt(job: Job, found: BullJob<JobData, JobResult>, state: 'completed' | 'failed' | 'active'): void {
    if (state === 'completed') succeed(job, found.returnvalue);
    else if (state === 'failed') job.fail(errorFromText(found.failedReason));
    else if (typeof found.progress === 'object') advance(job, found.progress);
  }

  private listen(onDone: (took: number) => void): void {
    const known = (work: (job: Job) => void) => ({ jobId }: { jobId: string }) => {
      const job = this.jobOf(jobId);
      if (job && !job.over) work(job);
    };
    const backToWaiting = known(job => { if (job.state === 'running') job.goBack(); });
    this.events.on('waiting', backToWaiting); // its worker ended well, or died
    this.events.on('delayed', backToWaiting); // it failed, and is tried again
    this.events.on('progress', ({ jobId, data }) => known(job => advance(job, data))({ jobId }));
    this.events.on('completed', ({ jobId, returnvalue }: { jobId: string; returnvalue: unknown }) => {
      known(job => succeed(job, returnvalue))({ jobId });
      const { took } = returnvalue as Partial<JobResult> | null ?? {};
      if (Number.isFinite(took)) onDone(took!);
    });
    this.events.on('failed', ({ jobId, failedReason }) => known(job => job.fail(errorFromText(failedReason)))({ jobId }));
    this.events.on('removed', known(job => job.fail(new CancelledError())));
  }
}
