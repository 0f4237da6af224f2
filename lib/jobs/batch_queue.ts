import { setTimeout as sleep } from 'node:timers/promises';
import { pickGuidance } from './guidance_request.js';
import type { Job } from './job.js';
import type { PictureRequest } from './picture_request.js';

/** Jobs that wait their turn. Those that can be drawn as one batch are taken together. */
export class BatchQueue {
  private readonly jobs: Job[] = [];
  private atWork: readonly Job[] = [];
  private running?: Promise<void>;

  /**
   * @param draw draws jobs as one batch and never throws: each job is then over.
   * @param maxBatch pictures that are drawn at once; one request may ask for more by itself.
   * @param patience milliseconds before a batch is taken, where those that could go together come one by one.
   */
  constructor(
    private readonly draw: (jobs: readonly Job[]) => Promise<void>, private readonly maxBatch: number, private readonly patience = 0,
  ) {}

  get waiting(): number { return this.jobs.length; }

  add(job: Job): void {
    const after = this.jobs.findLastIndex(({ request }) => priorityOf(request) >= priorityOf(job.request));
    this.jobs.splice(after + 1, 0, job);
    job.signal.addEventListener('abort', () => {
      const place = this.jobs.indexOf(job);
      if (place >= 0) this.jobs.splice(place, 1);
      job.fail(job.signal.reason as Error);
    });
    this.running ??= this.work();
  }

  /** How many are before it, or undefined if it does not wait. */
  placeOf(job: Job): number | undefined {
    const place = this.jobs.indexOf(job);
    return place < 0 ? undefined : place;
  }

  /** Cancels what waits, and comes back when what runs has ended. @param patience milliseconds that it may take. */
  async close(reason: Error, patience: number): Promise<void> {
    for (const job of [...this.jobs]) job.cancel(reason);
    const enough = setTimeout(() => this.atWork.forEach(job => job.cancel(reason)), patience);
    await this.running;
    clearTimeout(enough);
  }

  private async work(): Promise<void> {
    await Promise.resolve(); // those that come at once can go together
    while (this.jobs.length > 0) {
      if (this.patience > 0) await sleep(this.patience);
      if (this.jobs.length === 0) break; // cancelled meanwhile
      this.atWork = this.takeBatch();
      await this.draw(this.atWork);
    }
    this.atWork = [];
    this.running = undefined;
  }

  private takeBatch(): readonly Job[] {
    const first = this.jobs.shift()!;
    const batch = [first];
    const key = batchKey(first.request);
    let pictures = first.request.count;
    for (const job of key === undefined ? [] : [...this.jobs]) {
      const { count } = job.request;
      if (pictures + count > this.maxBatch || batchKey(job.request) !== key) continue;
      this.jobs.splice(this.jobs.indexOf(job), 1);
      batch.push(job);
      pictures += count;
    }
    return batch;
  }
}

function priorityOf({ priority = 0 }: PictureRequest): number {
  return priority;
}

/** The same for requests that differ in what a batch can differ in; undefined for one that is drawn by itself. */
function batchKey(request: PictureRequest): string | undefined {
  if (request.image) return undefined;
  const { model, width, height, steps, guidanceScale, scheduler, schedulerOptions, clipSkip, loras, promptWeights } = request;
  const negates = request.negativePrompt !== undefined; // some models take none at all for another thing than an empty one
  return JSON.stringify([
    model, width, height, steps, guidanceScale, pickGuidance(request), scheduler, schedulerOptions, clipSkip, loras, promptWeights, negates,
  ]);
}
