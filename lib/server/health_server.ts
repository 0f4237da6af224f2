import Fastify, { type FastifyInstance } from 'fastify';
import { healthRoutes, type Watched } from './health_routes.js';

/** A server that answers nothing but how a worker is: `/healthz`, `/readyz`, `/metrics`. */
export function createHealthServer(worker: Watched): FastifyInstance {
  const server = Fastify();
  healthRoutes(server, { engine: worker });
  return server;
}
