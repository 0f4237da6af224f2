import type { FastifyInstance } from 'fastify';
import type { ServerContext } from './context.js';
import { RequestError, tellable } from './errors.js';
import type { Job } from './job.js';

type ById = { Params: { id: string } };

/** Jobs: POST gives an id, GET what has become of it, DELETE ends it; events tell of each step. */
export function jobRoutes(server: FastifyInstance, { engine, submit }: ServerContext): void {
  const find = (id: string): Job => {
    const job = engine.find(id);
    if (!job) throw new RequestError('there is no such job', 404);
    return job;
  };
  const describe = (job: Job) => ({
    id: job.id, state: job.state, place: engine.placeOf(job), step: job.step, steps: job.steps,
    error: job.state === 'failed' ? tellable(job.error!) : undefined,
    pictures: job.pictures.map(({ seed, width, height }, i) => ({ seed, width, height, url: `/jobs/${job.id}/pictures/${i}` })),
  });

  server.post('/jobs', { schema: { body: { $ref: 'PictureRequest#' } }, attachValidation: true }, (request, reply) =>
    reply.status(202).send(describe(submit(request.body))));

  server.get<ById>('/jobs/:id', request => describe(find(request.params.id)));

  server.delete<ById>('/jobs/:id', (request, reply) => {
    find(request.params.id).cancel();
    return reply.status(204).send();
  });

  server.get<{ Params: { id: string; index: number } }>('/jobs/:id/pictures/:index', (request, reply) => {
    const picture = find(request.params.id).pictures[request.params.index];
    if (!picture) throw new RequestError('there is no such picture', 404);
    return reply.type('image/png').send(Buffer.from(picture.png));
  });

  server.get<ById>('/jobs/:id/events', (request, reply) => {
    const job = find(request.params.id);
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    const tell = () => {
      reply.raw.write(`data: ${JSON.stringify(describe(job))}\n\n`);
      if (job.endedAt !== undefined) reply.raw.end();
    };
    job.on('change', tell);
    reply.raw.on('close', () => job.off('change', tell));
    tell();
  });
}
