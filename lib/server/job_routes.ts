import type { FastifyInstance } from 'fastify';
import { RequestError, tellable } from '../jobs/errors.js';
import type { Job } from '../jobs/job.js';
import type { ServerContext } from './context.js';
import { changes, sendEvents } from './events.js';
import { fetchPicture } from './finish.js';
import { whenGone } from './when_gone.js';

interface ById { Params: { id: string } }
interface ByIndex { Params: { id: string; index: string } }

/** Jobs: POST gives an id, GET what has become of it, DELETE ends it; events tell of each step. */
export function jobRoutes(server: FastifyInstance, { engine, held, submit }: ServerContext): void {
  const find = async (id: string): Promise<Job> => {
    const job = await engine.find(id);
    if (!job) throw new RequestError('there is no such job', 404);
    return job;
  };
  const describe = async (job: Job) => ({
    id: job.id, state: job.state, place: await engine.placeOf(job), step: job.step, steps: job.steps,
    error: job.state === 'failed' ? tellable(job.error!) : undefined,
    previews: job.previews.map((_, i) => `/jobs/${job.id}/previews/${i}`),
    pictures: job.pictures.map((picture, i) => ({ ...picture, url: `/jobs/${job.id}/pictures/${i}` })), // as far as the schema has it
  });
  const png = async (id: string, namesOf: (job: Job) => ReadonlyArray<string>, index: string) => {
    const name = namesOf(await find(id)).at(/^\d{1,3}$/.test(index) ? Number(index) : Infinity);
    if (name === undefined) throw new RequestError('there is no such picture', 404);
    return fetchPicture(name, engine.store);
  };

  const job = { $ref: 'Job#' };
  const taken = { body: { $ref: 'PictureRequest#' }, response: { 202: job } };
  server.post('/jobs', { schema: taken, attachValidation: true }, async (request, reply) => {
    const taken = await submit(request.body);
    held.holdFor(taken);
    return reply.status(202).send(await describe(taken));
  });

  server.get<ById>('/jobs/:id', { schema: { response: { 200: job } } }, async request => describe(await find(request.params.id)));

  server.delete<ById>('/jobs/:id', async (request, reply) => {
    (await find(request.params.id)).cancel();
    return reply.status(204).send();
  });

  server.get<ByIndex>('/jobs/:id/pictures/:index', async ({ params: { id, index } }, reply) =>
    reply.type('image/png').send(await png(id, job => job.pictures.map(({ name }) => name), index)));

  server.get<ByIndex>('/jobs/:id/previews/:index', async ({ params: { id, index } }, reply) =>
    reply.type('image/png').send(await png(id, job => job.previews, index)));

  server.get<ById>('/jobs/:id/events', async (request, reply) => {
    const gone = whenGone(reply);
    return sendEvents(reply, tell(await find(request.params.id), gone), gone);
  });

  async function* tell(job: Job, gone: AbortSignal) {
    for await (const now of changes(job, gone)) yield { data: await describe(now) };
  }
}
