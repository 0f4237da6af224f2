import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../lib/core/package.js';
import { findCircles, findClimbing, importsOf, readImports } from './support/imports.js';

/** The floors of docs/architecture.md, from the top: one line each, the rooms side by side. */
function readFloors(): string[][] {
  const [, block] = /```floors\n(.*?)```/s.exec(readFileSync(join(packageFolder(), 'docs', 'architecture.md'), 'utf8'))!;
  return block.trim().split('\n').map(line => line.trim().split(/\s+/));
}

describe('the house', () => {
  const imports = readImports(packageFolder(), ['lib', 'weights-converter']);

  it('has no circle of imports', () => {
    assert.deepEqual(findCircles(imports).map(circle => circle.join(' -> ')), []);
  });

  it('has no import that leads up', () => {
    assert.deepEqual(findClimbing(imports, readFloors()), []);
  });

  it('imports only what is there', () => {
    assert.deepEqual([...imports].flatMap(([from, all]) => [...all].filter(to => !imports.has(to)).map(to => `${from} -> ${to}`)), []);
  });

  it('would see a circle of types, of re-exports, and of what is imported when it is needed', () => {
    for (const back of ["import type { A } from './a.js';", "export * from './a.js';", "const a = () => import('./a.js');", "type A = import('./a.js').A;"]) {
      const circle = findCircles(importsOf(new Map([['x/a.ts', "import { b } from './b.js';"], ['x/b.ts', back], ['x/c.ts', "import './a.js';"]])));
      assert.deepEqual(circle, [['x/a.ts', 'x/b.ts', 'x/a.ts']], back);
    }
  });

  it('would see an import that leads up, or aside', () => {
    const two = importsOf(new Map([['x/a.ts', "import type { B } from '../y/b.js';"], ['x/z/c.ts', "import '../a.js';"], ['y/b.ts', '']]));
    assert.deepEqual(findClimbing(two, [['y'], ['x/z'], ['x']]), ['x/a.ts -> y/b.ts']);
    assert.deepEqual(findClimbing(two, [['x/z'], ['x', 'y']]), ['x/a.ts -> y/b.ts']);
    assert.deepEqual(findClimbing(two, [['x/z'], ['x'], ['y']]), []);
    assert.throws(() => findClimbing(two, [['x']]), /y\/b\.ts: is on no floor/);
  });
});
