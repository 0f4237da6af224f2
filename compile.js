// Compiles into dist what has changed, and removes from there what no source makes any more, so that no moved spec runs on.
// It is JavaScript because it comes before anything is compiled.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const folders = ['lib', 'weights-converter', 'spec', 'benchmarks', 'docs'];
const stamp = 'dist/.compiled';

/** What the compiler reads, as it is now: it takes the compiler itself seconds to see that nothing changed. */
function state() {
  const sources = folders.flatMap(folder => filesOf(folder).filter(path => path.endsWith('.ts')));
  const lines = [...sources, 'tsconfig.json'].map(path => {
    const { mtimeMs, size } = statSync(path);
    return `${path} ${mtimeMs} ${size}`;
  });
  return [...lines, createHash('sha256').update(readFileSync('package-lock.json')).digest('hex')].join('\n');
}

/** Below a folder, without packages and links: a link to this clone, as docs/notebooks has one, would lead around for ever. */
function filesOf(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesOf(path);
    return entry.isFile() ? [path] : [];
  });
}

const now = state();
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== now) {
  const { status } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc'], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(stamp, now);
}
for (const path of folders.flatMap(folder => filesOf(join('dist', folder)))) {
  const [, source] = /^dist.(.*?)(?:\.d)?\.[jt]s$/.exec(path) ?? [];
  if (source && !existsSync(`${source}.ts`)) rmSync(path);
}
