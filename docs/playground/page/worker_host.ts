import type { Reply, Request } from '../protocol.js';
import type { ModelHost } from './model_host.js';

/** Set by the bundler. */
declare const WORKER: string;

/** A model in this page, in a worker. */
export class WorkerHost implements ModelHost {
  private readonly worker = new Worker(new URL(WORKER, document.baseURI), { type: 'module' });

  constructor(take: (reply: Reply) => void) {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => take(data);
    this.worker.onerror = ({ message }) => take({ type: 'failed', message: message || 'the worker could not be started' });
  }

  send(request: Request): void {
    this.worker.postMessage(request);
  }

  close(): void {
    this.worker.terminate();
  }
}
