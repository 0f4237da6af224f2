import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { RequestError } from './errors.js';
import type { PictureRequest } from './picture_request.js';

export type JobState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';

/** A picture of a job. */
export interface MadePicture {
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  /** A PNG file, with how it was made inside. */
  readonly png: Uint8Array;
}

/** What becomes of a request. Emits `change` whenever something does. */
export class Job extends EventEmitter<{ change: [] }> {
  readonly id = randomUUID();
  readonly createdAt = Date.now();
  readonly finished: Promise<readonly MadePicture[]>;
  private settle!: { resolve: (pictures: readonly MadePicture[]) => void; reject: (error: Error) => void };
  private readonly controller = new AbortController();
  private current: JobState = 'waiting';
  private made: readonly MadePicture[] = [];
  private trouble?: Error;
  private stepsDone = 0;
  private stepsInAll?: number;
  private ended?: number;

  constructor(readonly request: PictureRequest) {
    super();
    this.setMaxListeners(0);
    this.finished = new Promise((resolve, reject) => { this.settle = { resolve, reject }; });
    this.finished.catch(() => {}); // who asks by id hears of it there
  }

  get state(): JobState { return this.current; }
  get step(): number { return this.stepsDone; }
  get steps(): number | undefined { return this.stepsInAll; }
  get pictures(): readonly MadePicture[] { return this.made; }
  get error(): Error | undefined { return this.trouble; }
  /** When it was over, in milliseconds since 1970. */
  get endedAt(): number | undefined { return this.ended; }
  /** Aborted when the job is cancelled. */
  get signal(): AbortSignal { return this.controller.signal; }

  begin(): void {
    this.move('running');
  }

  advance(step: number, steps: number): void {
    [this.stepsDone, this.stepsInAll] = [step, steps];
    this.emit('change');
  }

  succeed(pictures: readonly MadePicture[]): void {
    this.made = pictures;
    this.move('done');
    this.settle.resolve(pictures);
  }

  fail(error: Error): void {
    this.trouble = error;
    this.move(this.signal.aborted ? 'cancelled' : 'failed');
    this.settle.reject(error);
  }

  /** Ends it within a step, or before it begins. */
  cancel(reason = new RequestError('cancelled')): void {
    if (this.ended === undefined) this.controller.abort(reason);
  }

  private move(state: JobState): void {
    this.current = state;
    if (state !== 'running') this.ended = Date.now();
    this.emit('change');
  }
}
