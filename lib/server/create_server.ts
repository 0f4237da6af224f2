import cors from '@fastify/cors';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyServerOptions } from 'fastify';
import { packageVersion } from '../core/package.js';
import { EmbeddedEngine, type EmbeddedEngineOptions } from '../jobs/embedded_engine.js';
import type { Engine } from '../jobs/engine.js';
import { isTrouble, toLine } from '../jobs/errors.js';
import { DEFAULT_LIMITS, pictureRequestSchema, requestChecker, type RequestRules, type ServerLimits } from '../jobs/picture_request.js';
import { schedulerClasses } from '../schedulers/index.js';
import { a1111Routes } from './a1111/routes.js';
import { answerErrors } from './answer_errors.js';
import { requireKey } from './api_keys.js';
import type { ServerContext } from './context.js';
import { describeError } from './describe_error.js';
import { boundBodies, HeldBytes } from './held_bytes.js';
import { healthRoutes } from './health_routes.js';
import { huggingFaceRoutes } from './hugging_face_routes.js';
import { jobRoutes } from './job_routes.js';
import { linger } from './linger.js';
import { openaiRoutes } from './openai_routes.js';
import { dialectSchemas, jobSchema } from './schemas.js';
import { workerRoutes } from './worker_routes.js';

/** Milliseconds that answers may take to arrive when the server ends; whoever sends or reads more slowly is cut off. */
const FAREWELL = 5000;

/** How many times as much as a body may have is read and forgotten, of a client that was refused. */
const LINGERING = 4;

/** Options of `createServer`. */
export interface ServerOptions extends Partial<Omit<EmbeddedEngineOptions, 'maxQueue' | 'limits'>> {
  /**
   * What makes the pictures; by default this process, by `models`: the first of them is loaded at once and taken where a request names
   * none.
   */
  engine?: Engine;
  /** What a request may ask for. */
  limits?: Partial<ServerLimits>;
  /** Keys of which each request has to bring one, as `Authorization: Bearer ...`; by default none is asked for. */
  apiKeys?: readonly string[];
  /** Origins whose pages may ask, as in 'https://example.org'; '*' for any. By default a browser lets none. */
  cors?: readonly string[];
  /** Fastify's: true, or pino's options, for a line of JSON for each request. */
  logger?: FastifyServerOptions['logger'];
  /** Whether prompts are logged too; by default they never are. */
  logPrompts?: boolean;
}

/**
 * A server of pictures: OpenAI's images API, Hugging Face's text-to-image, the API of AUTOMATIC1111's web UI, and jobs. Models and LoRAs
 * are those that the operator names; requests never give a path or an address. Call `listen` of what it gives, as of any Fastify server;
 * `close` ends what runs.
 * @throws TypeError if no model is named.
 */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const { apiKeys = [], logger = false, logPrompts = false, patience = FAREWELL } = options;
  const { onTrouble = logger ? (message: string) => server.log.error(message) : console.error } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const rules: RequestRules = { limits, schedulers: Object.keys(schedulerClasses) };
  const engine = options.engine ?? embeddedEngine({ ...options, onTrouble }, limits);
  const check = requestChecker(rules);
  const submit = async (request: unknown, gone?: AbortSignal) => {
    gone?.throwIfAborted();
    const job = await engine.submit(check(request, engine));
    if (gone?.aborted) job.cancel();
    gone?.addEventListener('abort', () => job.cancel());
    const { prompt, negativePrompt } = job.request;
    if (logPrompts) server.log.info({ job: job.id, prompt, negativePrompt }, 'prompt');
    return job;
  };
  const held = new HeldBytes(limits.maxWaitingBytes);
  const admitting = { onRequest: () => engine.admit() };
  const context: ServerContext = { engine, limits, held, admitting, submit, schemas: dialectSchemas(rules) };
  const requestTimeout = limits.maxBodySeconds * 1000;

  const server = Fastify({
    logger, bodyLimit: limits.maxBodyBytes, requestIdHeader: 'x-request-id',
    requestTimeout,
    http: { requestTimeout, headersTimeout: Math.min(60_000, requestTimeout), connectionsCheckingInterval: requestTimeout / 10 },
    pluginTimeout: 0, // it would count what runs when the server ends, which may take longer
    frameworkErrors: ({ statusCode = 400, message }, _, reply: FastifyReply) => { // of addresses
      void reply.status(statusCode).send(describeError(message, statusCode));
    },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  });
  linger(server.server, LINGERING * limits.maxBodyBytes);
  answerErrors(server, describeError);
  server.addHook('onError', async (request, _, error) => {
    if (!isTrouble(error)) return;
    if (logger) request.log.error(error);
    else onTrouble(`${request.method} ${request.routeOptions.url}: ${toLine(error)}`);
  });
  await server.register(swagger, { openapi: { info: { title: 'tfjs-diffusers', version: packageVersion() } } });
  if (options.cors?.length) await server.register(cors, corsOptions(options.cors)); // before keys: a browser asks without one first
  server.addSchema(pictureRequestSchema(rules));
  server.addSchema(jobSchema);
  requireKey(server, apiKeys);
  boundBodies(server, held, limits.maxBodyBytes);
  healthRoutes(server, context);
  jobRoutes(server, context);
  openaiRoutes(server, context);
  huggingFaceRoutes(server, context);
  workerRoutes(server, context);
  await server.register(async scope => a1111Routes(scope, context), { prefix: '/sdapi/v1' });
  server.get('/openapi.json', { schema: { hide: true } }, () => server.swagger());
  server.addHook('preClose', async () => { // before it waits for requests that are under way
    await engine.close();
    if (!server.server.listening) return;
    const timer = setInterval(() => server.server.closeIdleConnections(), 50); // which a client would keep after its last answer
    const enough = setTimeout(() => server.server.closeAllConnections(), Math.min(patience, FAREWELL));
    server.server.once('close', () => {
      clearInterval(timer);
      clearTimeout(enough);
    });
  });
  await engine.start();
  return server;
}

function corsOptions(origins: readonly string[]) {
  return { origin: origins.includes('*') ? '*' : [...origins], methods: ['GET', 'POST', 'DELETE'], exposedHeaders: ['retry-after'] };
}

function embeddedEngine(options: ServerOptions, limits: ServerLimits): Engine {
  const { models = {} } = options;
  if (Object.keys(models).length === 0) throw new TypeError('models: got none, takes the name and the place of at least one');
  return new EmbeddedEngine({ ...options, models, limits, maxQueue: limits.maxQueue });
}
