import type { FastifyInstance } from 'fastify';
import type { ServerContext } from './context.js';

/** `/workers`: the machines that draw, where they are others. */
export function workerRoutes(server: FastifyInstance, { engine }: ServerContext): void {
  const workers = engine.workers?.bind(engine);
  if (workers) server.get('/workers', async () => ({ workers: await workers() }));
}
