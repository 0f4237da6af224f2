import type { Job } from './job.js';
import { KEEP_SECONDS } from './stores/picture_store.js';

/** Jobs by id; those that are over can be asked for as long as their pictures. */
export class KnownJobs {
  private readonly jobs = new Map<string, Job>();

  constructor(private readonly keepSeconds = KEEP_SECONDS) {}

  add(job: Job): void {
    const before = Date.now() - this.keepSeconds * 1000;
    for (const [id, { endedAt = Infinity }] of this.jobs) if (endedAt < before) this.jobs.delete(id);
    this.jobs.set(job.id, job);
  }

  get(id: string): Job | undefined {
    return this.jobs.get(id);
  }

  /** One that was not taken after all. */
  delete({ id }: Job): void {
    this.jobs.delete(id);
  }

  get unfinished(): Job[] {
    return [...this.jobs.values()].filter(job => !job.over);
  }
}
