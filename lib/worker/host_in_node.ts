/** Run by start_worker.ts, in the worker. */
import { expose, type Endpoint } from 'comlink';
import { workerData } from 'node:worker_threads';
import { PipelineHost } from './host.js';

expose(new PipelineHost(), (workerData as { port: Endpoint }).port);
