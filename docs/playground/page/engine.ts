import type { Device } from '../../../lib/index.js';
import type { AdapterKind, AdaptReply, LoadReply, ModelSource, Reply, Settings, Sources, WorkReply } from '../protocol.js';
import type { ModelHost } from './model_host.js';
import { ServerHost } from './server_host.js';
import { WorkerHost } from './worker_host.js';

/** What is told while a picture is being made. */
const UNDER_WAY: ReadonlySet<WorkReply['type']> = new Set(['waiting', 'preparing', 'step']);

/**
 * What the page asks for pictures, wherever they are made. A model gets a host of its own, and leaves with it: all memory is then free
 * again. The model that is there stays until another is ready, and has finished what it is at.
 */
export class Engine {
  private working?: ModelHost;
  private coming?: ModelHost;
  private busy = false;
  private ready?: () => void;

  constructor(private readonly on: { load(reply: LoadReply): void; work(reply: WorkReply): void; adapt(reply: AdaptReply): void }) {}

  get loading(): boolean {
    return this.coming !== undefined;
  }

  /** @param key of a server that takes one. */
  load(source: ModelSource, device: Device | 'auto', key?: string): void {
    this.stopLoading();
    const host: ModelHost = new (source.kind === 'server' ? ServerHost : WorkerHost)(reply => this.take(host, reply));
    this.coming = host;
    host.send({ type: 'load', source, device, key });
  }

  stopLoading(): void {
    this.coming?.close();
    this.coming = this.ready = undefined;
  }

  generate(settings: Settings, sources: Sources): void {
    this.busy = true;
    this.working?.send({ type: 'generate', settings, ...sources });
  }

  /** Adds a small file to the model that is there, after what it is at. */
  adapt(kind: AdapterKind, name: string, file: File): void {
    this.working?.send({ type: 'adapt', kind, name, file });
  }

  /** Ends the work within one step. */
  cancel(): void {
    this.working?.send({ type: 'cancel' });
  }

  private take(host: ModelHost, reply: Reply): void {
    if (host === this.coming) this.takeLoading(host, reply as LoadReply);
    else if (host !== this.working) return;
    else if (reply.type === 'adapted' || reply.type === 'refused') this.on.adapt(reply);
    else this.takeWork(reply as WorkReply);
  }

  private takeLoading(host: ModelHost, reply: LoadReply): void {
    if (reply.type === 'failed') this.stopLoading();
    if (reply.type !== 'loaded') return this.on.load(reply);
    const enter = () => {
      this.working?.close();
      this.working = host;
      this.coming = this.ready = undefined;
      this.on.load(reply);
    };
    if (this.busy) this.ready = enter;
    else enter();
  }

  private takeWork(reply: WorkReply): void {
    if (!UNDER_WAY.has(reply.type)) this.busy = false;
    this.on.work(reply);
    if (!this.busy) this.ready?.();
  }
}
