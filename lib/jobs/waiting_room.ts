import { QueueFullError } from './errors.js';

/** Requests that wait. */
export interface Waiting {
  /** Those whose turn comes. */
  readonly ready: number;
  /** Those whose delay is not over. */
  readonly delayed: number;
}

/** After how many seconds to come again with a delay, which can be a day's. */
const DELAYED_RETRY_AFTER = 60;

/** How many may wait, and for how long they do: by the last jobs. */
export class WaitingRoom {
  /** Of a job, in milliseconds. */
  private meanDuration = 5000;

  /** @param room requests that wait, at most, and as many again with a delay: nobody waits for those. */
  constructor(private readonly room: number) {}

  /** A job took so many milliseconds. */
  took(milliseconds: number): void {
    this.meanDuration += (milliseconds - this.meanDuration) / 4;
  }

  /** @throws QueueFullError if one more would be too many. @param delay its own. */
  check({ ready, delayed }: Waiting, delay = 0): void {
    if (delay > 0) {
      const isFull = delayed >= this.room || ready + delayed >= 2 * this.room; // they will be ready too
      if (isFull) throw new QueueFullError(`${ready + delayed} requests, ${delayed} of them with a delay,`, DELAYED_RETRY_AFTER);
    } else if (ready >= this.room) throw new QueueFullError(`${ready} requests`, Math.ceil(this.meanDuration / 1000));
  }
}
