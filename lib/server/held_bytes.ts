import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { CancelledError, QueueFullError } from '../jobs/errors.js';
import type { Job } from '../jobs/job.js';

/** Seconds after which those that hold much may be done. */
const RETRY_AFTER = 5;

/** The bytes of all bodies that come in, are worked at or wait: of all together no more than a bound. */
export class HeldBytes {
  private held = 0;

  constructor(private readonly max: number) {}

  /** @throws QueueFullError if so many more would be too many. */
  check(bytes: number): void {
    if (this.held + bytes > this.max) throw new QueueFullError(`requests of ${this.held} bytes`, RETRY_AFTER);
  }

  hold(bytes: number): void {
    this.held += bytes;
  }

  release(bytes: number): void {
    this.held -= bytes;
  }

  /** What a job keeps of its request when that is answered, until it is over. */
  holdFor({ request: { image = '', mask = '' }, finished }: Job): void {
    const bytes = image.length + mask.length;
    this.hold(bytes);
    finished.catch(() => {}).then(() => this.release(bytes));
  }
}

/** Counts bodies as they come in, until they are answered or their client has gone. */
export function boundBodies(server: FastifyInstance, held: HeldBytes, maxBodyBytes: number): void {
  server.addHook('preParsing', async ({ headers }, { raw: answer }, body) => {
    held.check(Math.min(Number(headers['content-length'] ?? 0), maxBodyBytes)); // a larger one is refused for that
    let bytes = 0;
    answer.once('close', () => held.release(bytes));
    return Readable.from(count(), { objectMode: false }).on('error', () => {}); // nobody listens where the answer was a refusal

    async function* count() {
      for await (const chunk of (body as Readable).iterator({ destroyOnReturn: false })) { // the answer takes the same connection
        if (answer.destroyed) throw new CancelledError();
        const { length } = chunk as Buffer;
        held.check(length);
        held.hold(length);
        bytes += length;
        yield chunk as Buffer;
      }
    }
  });
}
