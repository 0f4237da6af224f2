import { QueueFullError } from './errors.js';

/** How many may wait, and for how long they do: by the last jobs. */
export class WaitingRoom {
  /** Of a job, in milliseconds. */
  private meanDuration = 5000;

  /** @param room requests that wait, at most. */
  constructor(private readonly room: number) {}

  /** A job took so many milliseconds. */
  took(milliseconds: number): void {
    this.meanDuration += (milliseconds - this.meanDuration) / 4;
  }

  /** @throws QueueFullError if one more would be too many. */
  check(waiting: number): void {
    if (waiting >= this.room) throw new QueueFullError(waiting, Math.ceil(this.meanDuration / 1000));
  }
}
