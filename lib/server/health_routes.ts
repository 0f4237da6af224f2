import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ServerContext } from './context.js';

/** `/healthz`: the process answers. `/readyz`: a model is loaded. `/metrics`: figures for Prometheus. */
export function healthRoutes(server: FastifyInstance, { engine }: ServerContext): void {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'diffusers_queue_length', help: 'Requests that wait', registers: [registry], collect() { this.set(engine.waiting); } });
  const requests = new Counter({
    name: 'diffusers_requests_total', help: 'Requests by route and status', labelNames: ['route', 'status'], registers: [registry],
  });
  const seconds = new Histogram({
    name: 'diffusers_request_seconds', help: 'From a request to its answer', labelNames: ['route'], buckets: [0.05, 0.2, 1, 5, 20, 60, 300],
    registers: [registry],
  });
  server.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    requests.inc({ route, status: reply.statusCode });
    seconds.observe({ route }, reply.elapsedTime / 1000);
  });
  server.get('/healthz', () => ({ ok: true }));
  server.get('/readyz', (_, reply) => reply.status(engine.ready ? 200 : 503).send({ ok: engine.ready }));
  server.get('/metrics', async (_, reply) => reply.type(registry.contentType).send(await registry.metrics()));
}
