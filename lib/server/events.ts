import { on } from 'node:events';
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import type { Job } from '../jobs/job.js';

/** A server-sent event. */
export interface ServerEvent {
  /** Its name, for clients that tell several kinds apart. */
  readonly event?: string;
  readonly data: object;
}

/** Answers with events as they come. @param gone says that the client has gone. */
export function sendEvents(reply: FastifyReply, events: AsyncIterable<ServerEvent>, gone: AbortSignal): FastifyReply {
  return reply.type('text/event-stream').header('cache-control', 'no-cache').send(Readable.from(toText(events, gone)));
}

/** The job now and after each change, the last time when it is over. */
export async function* changes(job: Job, signal: AbortSignal): AsyncGenerator<Job> {
  const later = on(job, 'change', { signal });
  try {
    yield job;
    while (!job.over) {
      await later.next();
      yield job;
    }
  } finally {
    await later.return!(); // jobs that are over are kept for a while, and would keep their listeners
  }
}

async function* toText(events: AsyncIterable<ServerEvent>, signal: AbortSignal): AsyncGenerator<string> {
  try {
    for await (const { event, data } of events) yield `${event ? `event: ${event}\n` : ''}data: ${JSON.stringify(data)}\n\n`;
  } catch (error) {
    if (!signal.aborted) throw error; // else there is nobody to tell
  }
}
