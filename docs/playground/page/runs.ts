import type { Result, Settings, Sources, WorkReply } from '../protocol.js';
import { announce, byId, duration, megabytes } from './dom.js';
import type { Engine } from './engine.js';
import type { Picture } from './picture_store.js';
import type { Stage } from './stage.js';

/** A picture that is to be made. */
export interface Order extends Sources {
  settings: Settings;
}

/** Who is told of the work. */
export interface RunsListener {
  began(): void;
  /** A picture is made; gives it as the gallery has it. */
  made(result: Result, sources: Sources): Promise<Picture>;
  /** All are made, or it was ended or failed; with the last that was made. */
  ended(last?: Picture): void | Promise<void>;
  /** It failed, with those that are not made; gives what is to be said. */
  failed(message: string, orders: Order[]): string;
}

/** What comes before the first step. */
const READING = 'Reading the prompt';

/** Pictures that are made one after the other, with the buttons that begin and end that. */
export class Runs {
  private readonly generateButton = byId<HTMLButtonElement>('generate');
  private readonly cancelButton = byId<HTMLButtonElement>('cancel');
  private orders: Order[] = [];
  private done = 0;
  private began = 0;
  private last?: Picture;

  constructor(private readonly engine: Engine, private readonly stage: Stage, private readonly listener: RunsListener) {
    this.cancelButton.onclick = () => engine.cancel();
    document.addEventListener('keydown', event => {
      if (event.key === 'Escape' && this.running) engine.cancel();
    });
  }

  get running(): boolean {
    return this.orders.length > 0;
  }

  begin(orders: Order[]): void {
    this.orders = orders;
    this.done = 0;
    this.last = undefined;
    this.began = performance.now();
    this.showError();
    this.listener.began();
    this.stage.showText(READING);
    this.stage.showProgress(0);
    this.generateButton.hidden = true;
    this.cancelButton.hidden = false;
    if (document.activeElement === document.body || document.activeElement === this.generateButton) this.cancelButton.focus();
    announce(orders.length === 1 ? 'Making the picture' : `Making ${orders.length} pictures`);
    this.next();
  }

  async take(reply: WorkReply): Promise<void> {
    if (!this.running) return;
    switch (reply.type) {
      case 'waiting':
        return this.showWaiting(reply);
      case 'preparing':
        return this.stage.showText(reply.preparing ? 'Preparing the GPU' : READING);
      case 'step':
        return this.showStep(reply);
      case 'done':
        this.last = await this.listener.made(reply.result, this.orders[this.done]);
        this.done++;
        if (this.done < this.orders.length) return this.next();
        await this.end();
        announce(this.done > 1 ? `${this.done} pictures are ready` : `The picture is ready, after ${duration(reply.result.milliseconds)}`);
        break;
      case 'cancelled':
        await this.end();
        announce('Cancelled');
        break;
      case 'failed': {
        const left = this.orders.slice(this.done);
        await this.end();
        this.showError(this.listener.failed(reply.message, left));
      }
    }
  }

  private next(): void {
    const { settings, ...sources } = this.orders[this.done];
    this.engine.generate(settings, sources);
  }

  private async end(): Promise<void> {
    const focused = document.activeElement === this.cancelButton;
    this.orders = [];
    this.cancelButton.hidden = true;
    this.generateButton.hidden = false;
    if (focused) this.generateButton.focus();
    await this.listener.ended(this.last);
  }

  /** In the queue of a server, or begun there. What is before it does not count as time that it takes. */
  private showWaiting({ place }: Extract<WorkReply, { type: 'waiting' }>): void {
    if (this.done === 0) {
      this.began = performance.now();
      this.stage.showText(place === undefined ? READING : place === 0 ? 'Waiting, as the next one' : `Waiting, ${place} before it`);
    }
    if (place) announce(`${place} before it in the queue`);
  }

  private showStep({ step, steps, milliseconds, memory, preview }: Extract<WorkReply, { type: 'step' }>): void {
    const count = this.orders.length;
    const share = (this.done + step / steps) / count;
    const left = (performance.now() - this.began) * (1 - share) / share;
    this.stage.showStep(this.orders[this.done].settings.prompt, [
      ...count > 1 ? [`picture ${this.done + 1} of ${count}`] : [], `step ${step} of ${steps}`, `${duration(milliseconds)} a step`, ...memory === undefined ? [] : [`${megabytes(memory)} of memory`],
      ...share < 1 ? [`${duration(left)} left`] : [],
    ], preview);
    this.stage.showProgress(share);
    if (count === 1 && step === Math.ceil(steps / 2)) announce('Half of the steps are done');
  }

  private showError(message = ''): void {
    byId('error').textContent = message;
    byId('error').hidden = !message;
  }
}
