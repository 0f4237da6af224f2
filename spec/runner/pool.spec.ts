import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, stripVTControlCharacters } from 'node:util';
import { temporaryFolder } from '../support/temporary_folder.js';
import { runSpecs } from './pool.js';

describe('Specs in several processes', () => {
  const folder = temporaryFolder();

  /** Runs files that have these tests. */
  async function run(groups: string[][]) {
    mkdirSync(folder(), { recursive: true });
    let count = 0;
    const paths = groups.map(group => group.map(tests => {
      const path = join(folder(), `${count++}.spec.mjs`);
      writeFileSync(path, tests);
      return path;
    }));
    let said = '';
    const print = (...line: unknown[]) => { said += `${format(...line)}\n`; };
    const { passed, skipped, failures } = await runSpecs(paths, { print });
    return { counts: [passed, skipped, failures.length], failures: failures.map(text => stripVTControlCharacters(text).trim()).sort(), said: stripVTControlCharacters(said), path: (i: number) => paths.flat()[i] };
  }
  const file = (title: string, body = '') => `describe('${title}', () => { it('passes', async () => { ${body} }); });`;

  it('count what passes, is skipped and fails in all files, and report each by itself', async () => {
    const { counts, failures, said } = await run([
      [file('a'), file('b', "throw new Error('wrong')")], [file('c'), "it('is skipped'); it('fails too', () => { throw new Error('also wrong'); });"],
    ]);
    assert.deepEqual(counts, [2, 1, 2]);
    assert.match(failures[0], /^1\) b\n +passes:\n +Error: wrong\n +at /);
    assert.match(failures[1], /^1\) fails too:\n +Error: also wrong\n/);
    assert.match(said, /^\n {2}a\n {4}\S passes(?: \(\d+ms\))?\n\n/m); // mocha says how long one takes that is slow
    assert.doesNotMatch(said, /undefined/);
    assert.deepEqual([...said.matchAll(/ (\d+)\) /g)].map(([, number]) => number), ['1', '2']);
  });

  it('fail where a process ends by itself, even with success, and run the other files', async () => {
    for (const [how, end] of [['process.exit(0)', 'exit code 0'], ["process.kill(process.pid, 'SIGKILL'); await new Promise(() => setTimeout(() => {}, 1e5))", 'SIGKILL']]) {
      const { counts, failures, said, path } = await run([[`it('is before', () => {}); it('ends', async () => { ${how} });`, file('a')], [file('b')], [file('c')]]);
      assert.deepEqual(counts, [3, 0, 1], said);
      assert.equal(failures[0], `1) ${path(0)}:\n     the process ended by itself, with ${end}`);
    }
  });

  it('fail where a file cannot be loaded, or says that only some tests shall run', async () => {
    const { counts, failures } = await run([["import './none.mjs';", file('a')], ["it.only('one', () => {}); it('two', () => {});"], [file('b')]]);
    assert.deepEqual(counts, [2, 0, 2]);
    assert.match(failures.join('\n'), /0\.spec\.mjs:\n +Error \[ERR_MODULE_NOT_FOUND\].*2\.spec\.mjs:\n +Error: `\.only` forbidden/s);
  });

  it('fail where a process does not end well after its last file', async () => {
    const { counts, failures } = await run([[file('a', "process.once('exit', () => process.kill(process.pid, 'SIGKILL'))")]]);
    assert.deepEqual([counts, failures], [[1, 0, 1], ['1) After the last file:\n     the process ended by itself, with SIGKILL']]);
  });
});
