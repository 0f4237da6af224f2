// A process that runs specs for pool.ts: the files that it is sent, one after another. It tells each line of a report, and what came of each file.
import Mocha from 'mocha';
import { readFileSync } from 'node:fs';
import { format, inspect } from 'node:util';
import type { Message } from './pool.js';

const { Base, Spec } = Mocha.reporters;
const settings = JSON.parse(readFileSync('.mocharc.json', 'utf8')) as Mocha.MochaOptions;
const tell = (message: Message) => process.send!(message);

/** Without counts, which come once, of all files. */
class Report extends Spec {
  override epilogue(): void {}
}

/** As mocha lists it. */
function describeFailure(test: Mocha.Runnable, err: unknown): string {
  const { consoleLog } = Base;
  const lines: string[] = [];
  Base.consoleLog = (...line: unknown[]) => void lines.push(format(...line));
  try {
    Base.list([Object.assign(test, { err }) as Mocha.Test]);
  } finally {
    Base.consoleLog = consoleLog;
  }
  return lines.join('\n').trimStart();
}

async function run(file: string): Promise<void> {
  const mocha = new Mocha({ ...settings, reporter: Report, forbidOnly: true }); // other files would run in whole all the same
  mocha.addFile(file);
  const failures: string[] = [];
  try {
    await mocha.loadFilesAsync();
  } catch (error) {
    return void tell({ result: { passed: 0, skipped: 0, failures: [`1) ${file}:\n     ${inspect(error)}`] } });
  }
  const runner = mocha.run(() => {
    mocha.dispose();
    const { passes: passed, pending: skipped } = runner.stats!;
    tell({ result: { passed, skipped, failures } });
  });
  runner.on('fail', (test: Mocha.Runnable, err: unknown) => failures.push(describeFailure(test, err)));
}

const orphaned = () => process.exit(1);

Base.consoleLog = (...line: unknown[]) => void tell({ line });
process.on('unhandledRejection', () => undefined); // mocha alone passes over them too, all through a run: a test gets the same verdict from both
process.once('disconnect', orphaned);
process.on('message', (file: string) => {
  if (file !== '') return void run(file);
  process.removeListener('disconnect', orphaned);
  process.exitCode = 0; // whatever a spec has set
  process.disconnect(); // it ends now, unless a spec left something that keeps it alive
});
