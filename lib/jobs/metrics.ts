import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { traced } from './tracing.js';

/** What a request goes through, each with seconds of its own. */
export type Stage = 'waiting' | 'loading' | 'drawing' | 'storing';

/** Figures for Prometheus, of one process: its own, and those of the pictures that it makes. */
export class Metrics {
  readonly registry = new Registry();
  private readonly pictures = this.counter('diffusers_pictures_total', 'Pictures that were made', ['model']);
  private readonly failures = this.counter('diffusers_failures_total', 'Requests that failed, without cancelled ones', ['error']);
  private readonly batches = new Histogram({
    name: 'diffusers_batch_size', help: 'Requests that were drawn together', buckets: [1, 2, 4, 8, 16], registers: [this.registry],
  });
  private readonly seconds = new Histogram({
    name: 'diffusers_stage_seconds', help: 'How long requests wait, models load, and pictures are drawn and stored', labelNames: ['stage'],
    buckets: [0.05, 0.2, 1, 5, 20, 60, 300], registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  made(model: string, pictures: number): void {
    this.pictures.inc({ model }, pictures);
  }

  failed(error: Error): void {
    this.failures.inc({ error: error.name });
  }

  drewBatch(requests: number): void {
    this.batches.observe(requests);
  }

  took(stage: Stage, milliseconds: number): void {
    this.seconds.observe({ stage }, milliseconds / 1000);
  }

  /** The time that `work` takes, as a stage's, and a span of that name. */
  async time<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await traced(stage, work);
    } finally {
      this.took(stage, performance.now() - started);
    }
  }

  counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  /** A figure that is looked up when it is asked for. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({ name, help, registers: [this.registry], async collect() { this.set(await read()); } });
  }
}
