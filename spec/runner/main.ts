// npm test: all specs, in two processes side by side. With arguments of mocha's (npm test -- -g LoRA), in one, by mocha alone.
import Mocha from 'mocha';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { runSpecs } from './pool.js';

/**
 * What takes longest, begun first, so that no process is left with it in the end; the others are begun by name. The first says what specs run on.
 * Those in a list share what takes long to make.
 */
const LONG = [
  'pipelines/generate', 'playground/playground', 'docs/examples', 'cli/cli', ['playground/your_own_page', 'docs/package'], 'docs/notebooks', 'weights-converter/quantize',
  'pipelines/images', 'runtime/webgpu/packed', 'pipelines/edit', 'runtime/webgpu/features', 'server/fuzz', 'jobs/redis/reliability', 'jobs/embedded_engine', 'playground/benchmark',
  'cli/serve', 'pipelines/at_once', 'models/ip_adapter', 'playground/families', 'playground/accessibility', 'runtime/native/xla', 'loading/single_file',
];

const pathOf = (name: string) => `dist/spec/${name}.spec.js`;

/** All files, in the order in which they are begun. */
function shareOut(): string[][] {
  const long = LONG.map(names => [names].flat().map(pathOf));
  const all = readdirSync('dist/spec', { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.spec.js')).map(name => `dist/spec/${name.replaceAll('\\', '/')}`).sort();
  const gone = long.flat().filter(path => !all.includes(path));
  if (gone.length > 0) throw new Error(`spec/runner/main.ts names what is not there: ${gone.join(', ')}`);
  return [...long, ...all.filter(path => !long.flat().includes(path)).map(path => [path])];
}

const started = Date.now();
const [, , ...parameters] = process.argv;
if (parameters.length > 0) {
  const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
  process.exitCode = spawnSync(process.execPath, [mocha, 'dist/spec/**/*.spec.js', ...parameters], { stdio: 'inherit' }).status ?? 1;
} else {
  const { passed: passes, skipped: pending, failures } = await runSpecs(shareOut());
  const stats = { passes, pending, failures: failures.length, duration: Date.now() - started };
  Mocha.reporters.Base.prototype.epilogue.call({ stats, failures: [] } as unknown as Mocha.reporters.Base); // the counts as mocha writes them
  failures.forEach((text, i) => console.log(`  ${text.replace('1)', `${i + 1})`)}\n`));
  process.exitCode = failures.length > 0 ? 1 : 0;
}
