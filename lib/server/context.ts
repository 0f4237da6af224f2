import type { Engine } from '../jobs/engine.js';
import type { Job } from '../jobs/job.js';
import type { ServerLimits } from '../jobs/picture_request.js';
import type { HeldBytes } from './held_bytes.js';
import type { dialectSchemas } from './schemas.js';

/** What all routes share. */
export interface ServerContext {
  readonly engine: Engine;
  readonly limits: ServerLimits;
  readonly schemas: ReturnType<typeof dialectSchemas>;
  /** What bodies, and requests that wait, hold together. */
  readonly held: HeldBytes;
  /** Hooks of a route that works at pictures before it submits: refuse a request while there is no room for it, before its body is read. */
  readonly admitting: { onRequest(): Promise<void> };
  /**
   * Checks what a dialect made of its request, and takes it.
   * @param gone cancels it, if only its client waits for it.
   * @throws RequestError, QueueFullError
   */
  submit(request: unknown, gone?: AbortSignal): Promise<Job>;
}
