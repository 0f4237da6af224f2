import type { Job } from './job.js';
import { KEEP_SECONDS } from './stores/picture_store.js';

/** Jobs that are over and can be asked for, at most: each may have a long prompt. */
const MAX_OVER = 2000;

/** Jobs by id; the last of those that are over can be asked for as long as their pictures. */
export class KnownJobs {
  private readonly jobs = new Map<string, Job>();
  private readonly over = new Map<string, Job>(); // the one that was over first comes first

  constructor(private readonly keepSeconds = KEEP_SECONDS, private readonly maxOver = MAX_OVER) {}

  add(job: Job): void {
    this.jobs.set(job.id, job);
    const end = () => {
      if (this.jobs.delete(job.id)) this.over.set(job.id, job);
    };
    job.finished.then(end, end);
    const before = Date.now() - this.keepSeconds * 1000;
    for (const [id, { endedAt = Infinity }] of this.over) {
      if (endedAt >= before && this.over.size <= this.maxOver) break;
      this.over.delete(id);
    }
  }

  get(id: string): Job | undefined {
    return this.jobs.get(id) ?? this.over.get(id);
  }

  /** One that was not taken after all. */
  delete({ id }: Job): void {
    this.jobs.delete(id);
  }

  get unfinished(): Job[] {
    return [...this.jobs.values()].filter(job => !job.over);
  }
}
