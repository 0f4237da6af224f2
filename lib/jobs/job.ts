import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { CancelledError } from './errors.js';
import type { AcceptedRequest } from './picture_request.js';
import { currentTrace } from './tracing.js';

export type JobState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';

/** A picture of a job, which lies in the store. */
export interface StoredPicture {
  /** In the store. */
  readonly name: string;
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  /** It may not be safe for work, and is black: where the model's safety checker is loaded. */
  readonly nsfwContentDetected?: boolean;
}

/** What becomes of a request. Emits `change` whenever something does. */
export class Job extends EventEmitter<{ change: [] }> {
  readonly finished: Promise<readonly StoredPicture[]>;
  private settle!: { resolve: (pictures: readonly StoredPicture[]) => void; reject: (error: Error) => void };
  private readonly controller = new AbortController();
  private current: JobState = 'waiting';
  private made: readonly StoredPicture[] = [];
  private readonly shown: string[] = [];
  private trouble?: Error;
  private stepsDone = 0;
  private stepsInAll?: number;
  private ended?: number;
  private left = false;

  /** @param createdAt milliseconds since 1970. @param trace where it was asked for. */
  constructor(
    private asked: AcceptedRequest, readonly id: string = randomUUID(), readonly createdAt = Date.now(), readonly trace = currentTrace(),
  ) {
    super();
    this.setMaxListeners(0);
    this.finished = new Promise((resolve, reject) => { this.settle = { resolve, reject }; });
    this.finished.catch(() => {}); // who asks by id hears of it there
  }

  /** What was asked for; without the pictures that it begins from, once they are not needed here any more. */
  get request(): AcceptedRequest { return this.asked; }
  get state(): JobState { return this.current; }
  get step(): number { return this.stepsDone; }
  get steps(): number | undefined { return this.stepsInAll; }
  get pictures(): readonly StoredPicture[] { return this.made; }
  /** Names in the store of what its first picture looked like on the way, as far as the request asked for that. */
  get previews(): readonly string[] { return this.shown; }
  get error(): Error | undefined { return this.trouble; }
  /** When it was over, in milliseconds since 1970. */
  get endedAt(): number | undefined { return this.ended; }
  /** Whether nothing more is heard of it here. */
  get over(): boolean { return this.ended !== undefined || this.left; }
  /** Aborted when the job is cancelled. */
  get signal(): AbortSignal { return this.controller.signal; }

  begin(): void {
    this.move('running');
  }

  /** @param preview the name of a new one. */
  advance(step: number, steps: number, preview?: string): void {
    if (this.over) return;
    [this.stepsDone, this.stepsInAll] = [step, steps];
    if (preview !== undefined && !this.shown.includes(preview)) this.shown.push(preview);
    this.emit('change');
  }

  /** It waits again: who was at it is gone. */
  goBack(): void {
    this.stepsDone = 0;
    this.move('waiting');
  }

  succeed(pictures: readonly StoredPicture[]): void {
    if (this.over) return;
    this.made = pictures;
    this.move('done');
    this.settle.resolve(pictures);
  }

  fail(error: Error): void {
    if (this.over) return;
    this.trouble = error;
    this.move(this.signal.aborted || error instanceof CancelledError ? 'cancelled' : 'failed');
    this.settle.reject(error);
  }

  /** It goes on without this process: who waits for it here hears why. */
  leave(reason: Error): void {
    if (this.over) return;
    this.trouble = reason;
    this.left = true;
    this.emit('change');
    this.settle.reject(reason);
  }

  /** Ends it within a step, or before it begins. */
  cancel(reason: Error = new CancelledError()): void {
    if (this.ended === undefined) this.controller.abort(reason);
  }

  /** Frees what a request brought: jobs are kept for a while, and pictures are large. */
  dropPictures(): void {
    this.asked = { ...this.asked, image: undefined, mask: undefined };
  }

  private move(state: JobState): void {
    if (this.over) return;
    this.current = state;
    if (state !== 'running' && state !== 'waiting') {
      this.ended = Date.now();
      this.dropPictures();
    }
    this.emit('change');
  }
}
