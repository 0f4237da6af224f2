import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Finished, Prepared, Run } from './cases.js';

/** A process that does a case's work on demand, so that two of them can take turns. */
export class Side {
  private readonly lines: AsyncIterator<string>;

  private constructor(readonly name: string, private readonly child: ReturnType<typeof spawn>) {
    this.lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stdin!.on('error', () => {}); // a process that died is reported by the answer that does not come
  }

  /** Starts `command` and waits until it has loaded its weights. */
  static async start(name: string, command: string, args: string[]): Promise<{ side: Side; prepared: Prepared }> {
    const side = new Side(name, spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] }));
    side.child.on('error', error => console.error(`${name}: ${error.message}`));
    return { side, prepared: await side.answer() };
  }

  run(): Promise<Run> {
    return this.ask('run');
  }

  /** A product of two 2048x2048 matrices: what the machine can do at this moment. */
  matmul(): Promise<Run> {
    return this.ask('matmul');
  }

  /** Runs once more, writes the result's float32 values to `file`, and ends. */
  async end(file: string): Promise<Finished> {
    const exit = once(this.child, 'exit');
    const finished = await this.ask<Finished>(`end ${file}`);
    this.child.stdin!.end();
    await exit;
    return finished;
  }

  stop(): void {
    this.child.kill();
  }

  private ask<T>(command: string): Promise<T> {
    this.child.stdin!.write(`${command}\n`);
    return this.answer();
  }

  private async answer<T>(): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.name}: ended without an answer`);
    return JSON.parse(value) as T;
  }
}
