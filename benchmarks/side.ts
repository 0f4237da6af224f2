import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Finished, Prepared, Run } from './cases.js';

/** What starts a side. */
export interface Start {
  name: string;
  command: string[];
  env?: Record<string, string>;
}

/** A process that does a case's work on demand, so that two of them can take turns. */
export class Side {
  private readonly started = performance.now();
  private readonly child: ReturnType<typeof spawn>;
  private readonly lines: AsyncIterator<string>;
  /** How it ended. */
  private readonly exit: Promise<string>;
  /** Seconds that its answers may still take. */
  private left: number;

  private constructor({ command: [program, ...args], env }: Start, private readonly timeout: number) {
    this.left = timeout;
    this.child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    this.child.stdin!.on('error', () => {}); // a process that died is reported by the answer that does not come
    this.exit = new Promise(resolve => {
      this.child.on('error', error => resolve(error.message));
      this.child.on('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
    });
  }

  /** Starts it and waits until it has loaded its weights. @param timeout seconds for all of its answers together. */
  static async start(start: Start, timeout: number): Promise<{ side: Side; prepared: Prepared }> {
    const side = new Side(start, timeout);
    return { side, prepared: await side.answer() };
  }

  /** Seconds since it was started. */
  get age(): number {
    return (performance.now() - this.started) / 1000;
  }

  run(): Promise<Run> {
    return this.ask('run');
  }

  /** Waits until it runs as fast as it can: until what is compiled beside its runs is done. */
  async settle(): Promise<void> {
    await this.ask('settle');
  }

  /** A product of two 2048x2048 matrices: what the machine can do at this moment. */
  matmul(): Promise<Run> {
    return this.ask('matmul');
  }

  /** Runs once more, writes the result's float32 values to `file`, and ends. */
  async end(file: string): Promise<Finished> {
    const finished = await this.ask<Finished>(`end ${file}`);
    this.child.stdin!.end();
    await this.exit;
    return finished;
  }

  /** Ends it, if it has not ended. */
  async stop(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exit;
  }

  private ask<T>(command: string): Promise<T> {
    this.child.stdin!.write(`${command}\n`);
    return this.answer();
  }

  /** @throws Error if it ends without one, or time is up, which stops it. */
  private async answer<T>(): Promise<T> {
    const start = performance.now();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      void this.stop();
    }, this.left * 1000);
    const { value, done } = await this.lines.next();
    clearTimeout(timer);
    this.left -= (performance.now() - start) / 1000;
    if (done) {
      const how = await this.exit; // with its memory
      throw new Error(isLate ? `takes longer than ${this.timeout} s` : `ended without an answer (${how})`);
    }
    return JSON.parse(value) as T;
  }
}
