import { runningAhead } from './run_ahead.js';

/** A call that was timed. All times are milliseconds. */
export interface ProfileSlice {
  /** What was called: `unet.down_blocks.0.resnets.0.conv1`, or `vae.decode`. */
  readonly path: string;
  /** Its class, as in `Conv2d`. */
  readonly kind: string;
  /** When it began, since profiling began. */
  readonly start: number;
  /** How long it took, with the calls within. */
  readonly duration: number;
  /** The duration without that of the timed calls within. */
  readonly self: number;
  /** In how many timed calls it lies. */
  readonly depth: number;
}

/** A moment that has a name. */
export interface ProfileMark {
  /** What happened then, as in `step 1 done, timestep 981`. */
  readonly name: string;
  /** Milliseconds since profiling began. */
  readonly at: number;
}

/** One line of a profile's tables. */
export interface ProfileRow {
  /** A network or a class of layers. */
  readonly name: string;
  /** How often it was called. */
  readonly calls: number;
  /** How long all calls took together. */
  readonly milliseconds: number;
  /** Its share of the whole time, from 0 to 1. */
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
          ...common, ph: 'X', name: path, cat: kind,
          ts: microseconds(start), dur: microseconds(duration), args: { kind, self_ms: microseconds(self) / 1e3 },
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

const profilers = new Set<Profiler>();

/** `work()`, which is what `subject` does when it is called, or one of its methods: timed if a profile is taken of it. */
export function timed<T>(subject: object, work: () => T, method?: string): T {
  if (profilers.size === 0) return work();
  return [...profilers].reduce((run, profiler) => () => profiler.time(subject, run, method), work)();
}

/** Gives this moment a name, if a profile is taken. */
export function markMoment(name: string): void {
  profilers.forEach(profiler => profiler.mark(name));
}

/**
 * Times what says that it is `timed`, until `stop`.
 * Time is the clock's: where ops are queued (GPUs), a call takes as long as queueing does, and who waits for a value pays for all of them.
 */
export class Profiler {
  private readonly begun = performance.now();
  private readonly slices: ProfileSlice[] = [];
  private readonly marks: ProfileMark[] = [];
  /** Of each call that is under way, what the timed calls within took. */
  private readonly within: number[] = [];

  /** @param paths what to time, and what to call it. A class stands for all that is of it. */
  constructor(private readonly paths: ReadonlyMap<object, string>) {
    if (profilers.size === 0) runningAhead.current?.set(false);
    profilers.add(this);
  }

  /** `work()`, timed if `subject` is to be. */
  time<T>(subject: object, work: () => T, method?: string): T {
    const path = this.paths.get(subject) ?? this.paths.get(subject.constructor);
    if (path === undefined) return work();
    const { slices, within, begun } = this;
    const depth = within.push(0) - 1;
    const start = performance.now();
    try {
      return work();
    } finally {
      const duration = performance.now() - start;
      slices.push({
        path: method ? `${path}.${method}` : path, kind: className(subject),
        start: start - begun, duration, self: duration - within.pop()!, depth,
      });
      if (depth > 0) within[depth - 1] += duration;
    }
  }

  /** Gives this moment a name. */
  mark(name: string): void {
    this.marks.push({ name, at: performance.now() - this.begun });
  }

  /** What it took. From now on nothing is timed. */
  stop(): Profile {
    const milliseconds = performance.now() - this.begun;
    profilers.delete(this);
    if (profilers.size === 0) runningAhead.current?.set(true);
    return new Profile(this.slices.sort((a, b) => a.start - b.start || a.depth - b.depth), this.marks, milliseconds);
  }
}

function className({ constructor }: object): string {
  return (constructor as { className?: string }).className ?? constructor.name;
}
