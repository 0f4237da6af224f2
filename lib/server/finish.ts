import type { FastifyReply } from 'fastify';
import { RequestError, tellable } from './errors.js';
import type { Job } from './job.js';

/**
 * Waits for a job whose pictures are the answer; it ends within a step when the client goes away.
 * @throws RequestError that says what is wrong.
 */
export async function finish(job: Job, reply: FastifyReply): Promise<Job> {
  const gone = () => job.cancel();
  reply.raw.on('close', gone);
  try {
    await job.finished;
    return job;
  } catch (error) {
    if (error instanceof RequestError || tellable(error as Error) !== (error as Error).message) throw error;
    throw new RequestError((error as Error).message);
  } finally {
    reply.raw.off('close', gone);
  }
}
