import multipart from '@fastify/multipart';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyServerOptions } from 'fastify';
import { packageVersion } from '../core/package.js';
import { schedulerClasses } from '../schedulers/index.js';
import { requireKey } from './api_keys.js';
import type { ServerContext } from './context.js';
import { EmbeddedEngine, type EmbeddedEngineOptions } from './embedded_engine.js';
import { QueueFullError, RequestError } from './errors.js';
import { healthRoutes } from './health_routes.js';
import { huggingFaceRoutes } from './hugging_face_routes.js';
import { jobRoutes } from './job_routes.js';
import { openaiRoutes } from './openai_routes.js';
import { DEFAULT_LIMITS, pictureRequestSchema, requestChecker, type Offer, type ServerLimits } from './picture_request.js';

/** Options of `createServer`. */
export interface ServerOptions {
  /**
   * Where each model is, by the name that requests use: what `fromPretrained` takes. The first is loaded at once and taken where none is
   * named.
   */
  models: Readonly<Record<string, string>>;
  /** Where each LoRA is, by the name that requests use. */
  loras?: Readonly<Record<string, string>>;
  /** How models are loaded. */
  load?: EmbeddedEngineOptions['load'];
  limits?: Partial<ServerLimits>;
  /** Keys of which each request has to bring one, as `Authorization: Bearer ...`; by default none is asked for. */
  apiKeys?: readonly string[];
  /** Fastify's: true, or pino's options, for a line of JSON for each request. Prompts are never in it. */
  logger?: FastifyServerOptions['logger'];
}

/**
 * A server of pictures: OpenAI's images API, Hugging Face's text-to-image, and jobs. Models and LoRAs are those that the operator names;
 * requests never give a path or an address. Call `listen` of what it gives, as of any Fastify server; `close` ends what runs.
 * @throws TypeError if no model is named.
 */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const { models, loras = {}, load, apiKeys = [], logger = false } = options;
  if (Object.keys(models).length === 0) throw new TypeError('models: got none, takes the name and the place of at least one');
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const offer: Offer = { limits, models: Object.keys(models), loras: Object.keys(loras), schedulers: Object.keys(schedulerClasses) };
  const engine = new EmbeddedEngine({ models, loras, load, maxQueue: limits.maxQueue, maxSteps: limits.maxSteps });
  const check = requestChecker(offer);
  const context: ServerContext = { engine, offer, submit: request => engine.submit(check(request)) };

  const server = Fastify({
    logger, bodyLimit: limits.maxBodyBytes, requestIdHeader: 'x-request-id',
    frameworkErrors: ({ statusCode = 400, message }, _, reply: FastifyReply) => { // of addresses
      void reply.status(statusCode).send(describeError(message, statusCode));
    },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  });
  server.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) request.log.error(error);
    if (error instanceof QueueFullError) reply.header('retry-after', error.retryAfter);
    const isOurs = status < 500 || error instanceof RequestError; // another may hold a path
    const message = isOurs ? error.message : 'the server failed; its log says why';
    return reply.status(status).send(describeError(message, status));
  });
  server.setNotFoundHandler((_, reply) => reply.status(404).send(describeError('there is no such route', 404)));
  await server.register(swagger, { openapi: { info: { title: 'tfjs-diffusers', version: packageVersion() } } });
  await server.register(multipart, { limits: { fileSize: limits.maxBodyBytes, files: 3, fields: 32, fieldSize: 16384 } });
  server.addSchema(pictureRequestSchema(offer));
  if (apiKeys.length > 0) requireKey(server, apiKeys);
  healthRoutes(server, context);
  jobRoutes(server, context);
  openaiRoutes(server, context);
  huggingFaceRoutes(server, context);
  server.get('/openapi.json', { schema: { hide: true } }, () => server.swagger());
  server.addHook('preClose', () => engine.close()); // before it waits for requests that are under way
  await engine.start();
  return server;
}

/** As OpenAI's clients read it. */
function describeError(message: string, status: number): object {
  return { error: { message, type: status < 500 ? 'invalid_request_error' : 'server_error', code: null, param: null } };
}
