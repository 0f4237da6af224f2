import type { Engine } from './engine.js';
import type { Job } from './job.js';
import type { Offer } from './picture_request.js';

/** What all routes share. */
export interface ServerContext {
  readonly engine: Engine;
  readonly offer: Offer;
  /** Checks what a dialect made of its request, and takes it. @throws RequestError, QueueFullError */
  submit(request: unknown): Job;
}
