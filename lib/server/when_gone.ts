import type { FastifyReply } from 'fastify';
import { CancelledError } from '../jobs/errors.js';

/** Aborted when the client goes away before its answer is complete, or where it has gone already. */
export function whenGone({ raw: answer }: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const abort = () => gone.abort(new CancelledError());
  if (answer.destroyed) abort();
  else answer.once('close', abort);
  return gone.signal;
}
