import type { Job } from './job.js';
import type { PictureRequest } from './picture_request.js';

/** What makes the pictures of a server: in its own process, or elsewhere. */
export interface Engine {
  /** Takes a request that was checked. @throws QueueFullError if too many wait. */
  submit(request: PictureRequest): Job;
  find(id: string): Job | undefined;
  /** How many are before a job that waits; 0 for the next one, undefined for one that does not wait. */
  placeOf(job: Job): number | undefined;
  readonly waiting: number;
  /** Whether a model is in memory. */
  readonly ready: boolean;
  /** Takes nothing more, cancels what waits, and comes back when what runs has ended. */
  close(): Promise<void>;
}
