import { RequestError } from '../../jobs/errors.js';
import type { Job } from '../../jobs/job.js';
import type { PictureStore } from '../../jobs/stores/picture_store.js';
import { timestamp } from './answer.js';

/** The jobs of this API that are not over: it asks for progress, and ends pictures, without saying whose. */
export class Running {
  /** Each with when it began, in milliseconds since 1970. */
  private readonly jobs = new Map<Job, number | undefined>();

  add(job: Job): void {
    const follow = () => {
      if (job.endedAt !== undefined) this.jobs.delete(job);
      else this.jobs.set(job, job.state === 'running' ? this.jobs.get(job) ?? Date.now() : undefined);
    };
    job.on('change', follow);
    follow();
  }

  /** Ends what is drawn at this moment. */
  interrupt(): void {
    for (const job of [...this.jobs.keys()]) if (job.state === 'running') job.cancel(new RequestError('interrupted', 409));
  }

  /** How far the first of them is: the one that is drawn, or else waits. @param store for what it looks like, where that is wanted. */
  async describe(store?: PictureStore): Promise<object> {
    const [job, began] = [...this.jobs].find(([{ state }]) => state === 'running') ?? [...this.jobs].at(0) ?? [];
    const { step = 0, steps = 0, previews = [] } = job ?? {};
    const progress = steps ? step / steps : 0;
    const elapsed = began === undefined ? 0 : (Date.now() - began) / 1000;
    const preview = previews.at(-1);
    const bytes = preview === undefined ? undefined : await store?.read(preview);
    return {
      progress, eta_relative: progress > 0 ? elapsed / progress - elapsed : 0,
      state: {
        skipped: false, interrupted: false, stopping_generation: false,
        job: job ? `scripts_${job.request.strength !== undefined ? 'img2img' : 'txt2img'}` : '',
        job_count: this.jobs.size, job_no: 0, job_timestamp: job ? timestamp(job.createdAt) : '0',
        sampling_step: step, sampling_steps: steps,
      },
      current_image: bytes ? Buffer.from(bytes).toString('base64') : null, textinfo: job?.state === 'waiting' ? 'waiting' : null,
    };
  }
}
