import type { Block } from './block.js';

/** A call that was timed. All times are milliseconds. */
export interface ProfileSlice {
  /** What was called: `unet.down_blocks.0.resnets.0.conv1`, or `vae.decode`. */
  readonly path: string;
  /** Its class, as in `Conv2d`. */
  readonly kind: string;
  /** Since profiling began. */
  readonly start: number;
  readonly duration: number;
  /** Of the duration, what no timed call within took. */
  readonly self: number;
  /** In how many timed calls it lies. */
  readonly depth: number;
}

/** A moment that has a name. */
export interface ProfileMark {
  readonly name: string;
  readonly at: number;
}

/** One line of a profile's tables. */
export interface ProfileRow {
  readonly name: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Of the whole time, from 0 to 1. */
  readonly share: number;
}

const REST = 'everything else';

/** Where the time of some work went. */
export class Profile {
  constructor(readonly slices: readonly ProfileSlice[], readonly marks: readonly ProfileMark[], readonly milliseconds: number) {}

  /** Time by network and scheduler, with all that is within; the rows sum to the whole. */
  get networks(): ProfileRow[] {
    return this.rows(this.slices.filter(slice => slice.depth === 0), slice => slice.path.split('.')[0], slice => slice.duration);
  }

  /** Time by class of layer, each call without the layers within; the rows sum to the whole. */
  get layers(): ProfileRow[] {
    return this.rows(this.slices, slice => slice.kind, slice => slice.self);
  }

  /** The networks and the layers as tables. */
  toString(): string {
    const { networks, layers } = this;
    const width = Math.max(...[...networks, ...layers].map(({ name }) => name.length));
    const table = (title: string, rows: ProfileRow[]) => [
      `${title.padEnd(width)}    calls          ms   share`,
      ...rows.map(({ name, calls, milliseconds, share }) => `${name.padEnd(width)}  ${String(calls || '').padStart(7)}  ${
        milliseconds.toFixed(1).padStart(10)}  ${(100 * share).toFixed(1).padStart(5)}%`),
    ];
    return [...table('network', networks), '', ...table('layer', layers)].join('\n');
  }

  /** In the trace-event format, for JSON.stringify: a file that Perfetto (ui.perfetto.dev) and chrome://tracing show. */
  toTrace(): { traceEvents: object[]; displayTimeUnit: 'ms' } {
    const common = { pid: 1, tid: 1 };
    const microseconds = (milliseconds: number) => Math.round(1e6 * milliseconds) / 1e3;
    return {
      displayTimeUnit: 'ms',
      traceEvents: [
        { ...common, ph: 'M', name: 'process_name', args: { name: 'tfjs-diffusers' } },
        { ...common, ph: 'M', name: 'thread_name', args: { name: 'networks' } },
        ...this.slices.map(({ path, kind, start, duration, self }) => ({
          ...common, ph: 'X', name: path, cat: kind, ts: microseconds(start), dur: microseconds(duration), args: { kind, self_ms: microseconds(self) / 1e3 },
        })),
        ...this.marks.map(({ name, at }) => ({ ...common, ph: 'i', s: 'p', name, ts: microseconds(at) })),
      ],
    };
  }

  private rows(slices: readonly ProfileSlice[], key: (slice: ProfileSlice) => string, time: (slice: ProfileSlice) => number): ProfileRow[] {
    const sums = new Map<string, { calls: number; milliseconds: number }>();
    for (const slice of slices) {
      const { calls, milliseconds } = sums.get(key(slice)) ?? { calls: 0, milliseconds: 0 };
      sums.set(key(slice), { calls: calls + 1, milliseconds: milliseconds + time(slice) });
    }
    const sorted = [...sums].sort(([, a], [, b]) => b.milliseconds - a.milliseconds);
    const rest = sorted.reduce((left, [, { milliseconds }]) => left - milliseconds, this.milliseconds);
    return [...sorted, [REST, { calls: 0, milliseconds: rest }] as const]
      .map(([name, sum]) => ({ name, ...sum, share: sum.milliseconds / this.milliseconds }));
  }
}

/**
 * Times calls of methods by standing in their place on the objects themselves, until `stop`: what is not profiled pays nothing.
 * Time is the clock's: where ops are queued (GPUs), a call takes as long as queueing does, and who waits for a value pays for all of them.
 */
export class Profiler {
  private readonly begun = performance.now();
  private readonly slices: ProfileSlice[] = [];
  private readonly marks: ProfileMark[] = [];
  private readonly undo: Array<() => void> = [];
  /** Of each call that is under way, what the timed calls within took. */
  private readonly within: number[] = [];

  /** Times a method of an object, or of all objects of a prototype. `after` is called with its arguments when it is done. */
  time(target: object, method: string, path: string, after?: (...inputs: unknown[]) => void): void {
    const own = Object.getOwnPropertyDescriptor(target, method);
    const original = (target as Record<string, (...inputs: unknown[]) => unknown>)[method];
    const kind = className(target);
    const { slices, within, begun } = this;
    const timed = function (this: object, ...inputs: unknown[]) {
      const depth = within.push(0) - 1;
      const start = performance.now();
      try {
        return original.apply(this, inputs);
      } finally {
        const duration = performance.now() - start;
        slices.push({ path, kind, start: start - begun, duration, self: duration - within.pop()!, depth });
        if (depth > 0) within[depth - 1] += duration;
        after?.(...inputs);
      }
    };
    Object.defineProperty(target, method, { value: timed, configurable: true, writable: true });
    this.undo.push(() => {
      if (own) Object.defineProperty(target, method, own);
      else Reflect.deleteProperty(target, method);
    });
  }

  /** Times a network and every layer of it. */
  timeNetwork(network: Block, name: string): void {
    for (const [path, block] of network.namedDescendants(name)) this.time(block, 'forward', path);
    for (const method of ['encode', 'decode']) if (method in network) this.time(network, method, `${name}.${method}`); // a VAE's
  }

  /** Gives this moment a name. */
  mark(name: string): void {
    this.marks.push({ name, at: performance.now() - this.begun });
  }

  /** Puts everything back as it was. */
  stop(): Profile {
    const milliseconds = performance.now() - this.begun;
    for (const undo of this.undo.reverse()) undo();
    return new Profile(this.slices.sort((a, b) => a.start - b.start || a.depth - b.depth), this.marks, milliseconds);
  }
}

function className({ constructor }: object): string {
  return (constructor as { className?: string }).className ?? constructor.name;
}
