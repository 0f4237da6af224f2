import { RequestError, toAnswer } from '../jobs/errors.js';
import type { Job } from '../jobs/job.js';
import type { PictureStore } from '../jobs/stores/picture_store.js';

/** Waits for a job whose pictures are the answer. @throws RequestError that says what is wrong. */
export async function finish(job: Job): Promise<Job> {
  try {
    await job.finished;
    return job;
  } catch (error) {
    job.cancel(); // where it goes on elsewhere, it would for nobody
    throw toAnswer(error as Error);
  }
}

/** PNG files of a job that is done. @throws RequestError if they are there no longer. */
export function fetchPictures(job: Job, store: PictureStore): Promise<Buffer[]> {
  return Promise.all(job.pictures.map(({ name }) => fetchPicture(name, store)));
}

/** @throws RequestError if it is not there, or no longer. */
export async function fetchPicture(name: string, store: PictureStore): Promise<Buffer> {
  const bytes = await store.read(name);
  if (!bytes) throw new RequestError('the picture is no longer there', 410);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
