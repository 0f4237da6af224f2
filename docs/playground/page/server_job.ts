import type { Preview, Reply } from '../protocol.js';
import type { ServerClient } from './server_client.js';

/** As the server tells of a job. */
export interface JobReport {
  id: string;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
  place?: number;
  step: number;
  steps?: number;
  error?: string;
  previews: string[];
  pictures: Array<{ url: string }>;
}

/** Tells of a job in the words of the page's worker. */
export class ServerJob {
  waits = true;
  private begun = performance.now();
  private last = this.begun;
  private steps = 0;
  private latest?: Extract<Reply, { type: 'step' }>;
  private looked?: string;
  private over = false;

  constructor(private readonly client: ServerClient, private readonly take: (reply: Reply) => void) {}

  /** In milliseconds, from when the server began. */
  get times(): { milliseconds: number; millisecondsPerStep: number } {
    return { milliseconds: performance.now() - this.begun, millisecondsPerStep: (this.last - this.begun) / Math.max(1, this.steps) };
  }

  tell({ state, place, step, steps, previews }: JobReport): void {
    if (this.over) return;
    if (state === 'waiting') { // maybe again: whoever was at it is gone
      [this.waits, this.steps] = [true, 0];
      this.take({ type: 'waiting', place });
    }
    if (state !== 'running') return;
    if (this.waits) {
      this.begun = this.last = performance.now();
      this.waits = false;
      this.take({ type: 'waiting' });
    }
    if (step <= this.steps || steps === undefined) return;
    const now = performance.now();
    this.latest = { type: 'step', step, steps, milliseconds: (now - this.last) / (step - this.steps) };
    [this.last, this.steps] = [now, step];
    this.take(this.latest);
    const path = previews.at(-1);
    if (path === undefined || path === this.looked) return;
    this.looked = path; // the events do not wait for it
    void this.look(path).then(preview => { if (!this.over && this.looked === path) this.take({ ...this.latest!, preview }); }, () => {});
  }

  /** Tells nothing more. */
  close(): void {
    this.over = true;
  }

  private async look(path: string): Promise<Preview> {
    const bitmap = await createImageBitmap(await (await this.client.ask(path)).blob());
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext('2d')!;
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return { width, height, rgba: context.getImageData(0, 0, width, height).data as Preview['rgba'] };
  }
}
