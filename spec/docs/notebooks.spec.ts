import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const folder = 'docs/notebooks';
const run = promisify(execFile);

interface Cell {
  cell_type: string;
  source: string[];
  outputs: Array<{ output_type: string; name?: string }>;
}

describe('Notebooks', () => {
  const names = readdirSync(folder).filter(name => name.endsWith('.ipynb'));

  it('run from top to bottom in tslab under Jupyter, and show pictures where they are kept', async function () {
    this.timeout(600_000); // packages are installed the first time
    await run(process.env.PYTHON ?? 'python3', ['-c', 'import ensurepip, venv']).catch(() => this.skip());
    const program = fileURLToPath(new URL('../../docs/notebooks/main.js', import.meta.url));
    const { stdout } = await run(process.execPath, [program, '--check']); // rejects with what went wrong
    assert.equal(stdout.trim().split('\n').length, names.length, stdout);
  });

  for (const name of names) {
    const text = readFileSync(join(folder, name), 'utf8');
    const cells = (JSON.parse(text) as { cells: Cell[] }).cells;

    it(`${name} is kept small, with what its cells give, and without complaints`, () => {
      assert.ok(statSync(join(folder, name)).size < 500_000);
      const outputs = cells.flatMap(cell => cell.outputs ?? []);
      assert.ok(outputs.some(({ output_type }) => output_type === 'display_data'));
      assert.deepEqual(outputs.filter(output => output.output_type === 'error' || output.name === 'stderr'), []);
    });

    it(`${name} points to files that exist`, () => {
      for (const cell of cells.filter(({ cell_type }) => cell_type === 'markdown')) {
        for (const [, link] of cell.source.join('').matchAll(/\]\((?!https?:)([^)#]+)/g)) assert.ok(existsSync(resolve(folder, link)), link);
      }
    });
  }
});
