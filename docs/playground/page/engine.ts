import type { Device } from '../../../lib/index.js';
import type { AdapterKind, AdaptReply, LoadReply, ModelSource, Reply, Request, Settings, Start, WorkReply } from '../protocol.js';

/** Set by the bundler. */
declare const WORKER: string;

/**
 * The page's end of the worker. A model gets a worker of its own, and leaves with it: all memory is then free again. The model that is there
 * stays until another is ready, and has finished what it is at.
 */
export class Engine {
  private working?: Worker;
  private coming?: Worker;
  private busy = false;
  private ready?: () => void;

  constructor(private readonly on: { load(reply: LoadReply): void; work(reply: WorkReply): void; adapt(reply: AdaptReply): void }) {}

  get loading(): boolean {
    return this.coming !== undefined;
  }

  load(source: ModelSource, device: Device | 'auto'): void {
    this.stopLoading();
    const worker = new Worker(new URL(WORKER, document.baseURI), { type: 'module' });
    this.coming = worker;
    worker.onmessage = ({ data }: MessageEvent<Reply>) => this.take(worker, data);
    worker.onerror = ({ message }) => this.take(worker, { type: 'failed', message: message || 'the worker could not be started' });
    worker.postMessage({ type: 'load', source, device } satisfies Request);
  }

  stopLoading(): void {
    this.coming?.terminate();
    this.coming = this.ready = undefined;
  }

  generate(settings: Settings, start?: Start): void {
    this.busy = true;
    this.send({ type: 'generate', settings, start });
  }

  /** Adds a small file to the model that is there, after what it is at. */
  adapt(kind: AdapterKind, name: string, file: File): void {
    this.send({ type: 'adapt', kind, name, file });
  }

  /** Ends the work within one step. */
  cancel(): void {
    this.send({ type: 'cancel' });
  }

  private send(request: Request): void {
    this.working?.postMessage(request);
  }

  private take(worker: Worker, reply: Reply): void {
    if (worker === this.coming) this.takeLoading(worker, reply as LoadReply);
    else if (worker !== this.working) return;
    else if (reply.type === 'adapted' || reply.type === 'refused') this.on.adapt(reply);
    else this.takeWork(reply as WorkReply);
  }

  private takeLoading(worker: Worker, reply: LoadReply): void {
    if (reply.type === 'failed') this.stopLoading();
    if (reply.type !== 'loaded') return this.on.load(reply);
    const enter = () => {
      this.working?.terminate();
      this.working = worker;
      this.coming = this.ready = undefined;
      this.on.load(reply);
    };
    if (this.busy) this.ready = enter;
    else enter();
  }

  private takeWork(reply: WorkReply): void {
    if (reply.type !== 'step') this.busy = false;
    this.on.work(reply);
    if (!this.busy) this.ready?.();
  }
}
