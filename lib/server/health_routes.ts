import type { FastifyInstance } from 'fastify';
import { Histogram } from 'prom-client';
import type { Engine } from '../jobs/engine.js';

/** What is asked how it is: an engine, or a worker of one. */
export type Watched = Pick<Engine, 'metrics' | 'ready' | 'waiting'>;

/** `/healthz`: the process answers. `/readyz`: a request would be worked at. `/metrics`: figures for Prometheus. */
export function healthRoutes(server: FastifyInstance, { engine }: { readonly engine: Watched }): void {
  const { metrics } = engine;
  metrics.gauge('diffusers_queue_length', 'Requests that wait', () => engine.waiting());
  const requests = metrics.counter('diffusers_requests_total', 'Requests by route and status', ['route', 'status']);
  const seconds = new Histogram({
    name: 'diffusers_request_seconds', help: 'From a request to its answer', labelNames: ['route'], buckets: [0.05, 0.2, 1, 5, 20, 60, 300],
    registers: [metrics.registry],
  });
  server.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    requests.inc({ route, status: reply.statusCode });
    seconds.observe({ route }, reply.elapsedTime / 1000);
  });
  server.get('/healthz', () => ({ ok: true }));
  server.get('/readyz', (_, reply) => reply.status(engine.ready ? 200 : 503).send({ ok: engine.ready }));
  server.get('/metrics', async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()));
}
