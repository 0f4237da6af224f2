import type { FastifyInstance } from 'fastify';
import { QueueFullError, RequestError } from '../jobs/errors.js';

/** An error as a dialect's clients read it. */
export type DescribeError = (message: string, status: number) => object;

/** Answers errors and unknown routes, of a server or of the part of it that has a prefix, in one line without paths and stacks. */
export function answerErrors(server: FastifyInstance, describe: DescribeError): void {
  server.setErrorHandler((error: Error & { statusCode?: number }, _, reply) => {
    const status = error.statusCode ?? 500;
    if (error instanceof QueueFullError) reply.header('retry-after', error.retryAfter);
    const isOurs = status < 500 || error instanceof RequestError; // another may hold a path
    const message = isOurs ? error.message : 'the server failed; its log says why';
    return reply.status(status).type('application/json').send(describe(message, status));
  });
  server.setNotFoundHandler((_, reply) => reply.status(404).send(describe('there is no such route', 404)));
}
