import type { Device } from '../../../lib/index.js';
import type { ModelSource, Reply, Request, Settings } from '../protocol.js';

/** Set by the bundler. */
declare const WORKER: string;

/** The page's end of the worker. A model gets a worker of its own, and leaves with it: all memory is then free again. */
export class Engine {
  private worker?: Worker;

  constructor(private readonly onReply: (reply: Reply) => void) {}

  load(source: ModelSource, device: Device | 'auto'): void {
    this.worker?.terminate();
    this.worker = new Worker(new URL(WORKER, document.baseURI), { type: 'module' });
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.onReply(data);
    this.worker.onerror = ({ message }) => this.onReply({ type: 'failed', message: message || 'the worker could not be started' });
    this.send({ type: 'load', source, device });
  }

  generate(settings: Settings): void {
    this.send({ type: 'generate', settings });
  }

  /** Ends the work within one step. */
  cancel(): void {
    this.send({ type: 'cancel' });
  }

  private send(request: Request): void {
    this.worker?.postMessage(request);
  }
}
