import type { FastifyReply } from 'fastify';
import { RequestError, tellable } from '../jobs/errors.js';
import type { Job } from '../jobs/job.js';
import type { PictureStore } from '../jobs/stores/picture_store.js';

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
    job.cancel(); // where it goes on elsewhere, it would for nobody
    if (error instanceof RequestError || tellable(error as Error) !== (error as Error).message) throw error;
    throw new RequestError((error as Error).message);
  } finally {
    reply.raw.off('close', gone);
  }
}

/** PNG files of a job that is done. @throws RequestError if they are there no longer. */
export function readPictures(job: Job, store: PictureStore): Promise<Buffer[]> {
  return Promise.all(job.pictures.map(({ name }) => readPicture(name, store)));
}

/** @throws RequestError if it is not there, or no longer. */
export async function readPicture(name: string, store: PictureStore): Promise<Buffer> {
  const bytes = await store.read(name);
  if (!bytes) throw new RequestError('the picture is no longer there', 410);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
