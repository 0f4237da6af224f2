import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const LIBRARY = new URL('../lib/index.js', import.meta.url).href;

/** The name of a block that is a program of its own. */
const OWN_NAME = /^\/\/ (\S+\.mjs)\n/;

/**
 * Runs the examples of a page in `folder`, with this clone's library and bundled model.
 * @param page of Markdown; its blocks of `ts` are one program, from top to bottom, except for those that begin with a file's name, as in
 *   `// seeds.mjs`, each of which is a program by itself.
 * @returns the pictures that the programs save.
 * @throws what went wrong, as the program said it.
 */
export async function runExamples(page: string, folder: string): Promise<string[]> {
  const blocks = [...readFileSync(page, 'utf8').matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);
  const programs = new Map(blocks.filter(code => OWN_NAME.test(code)).map(code => [OWN_NAME.exec(code)![1], code]));
  const tour = blocks.filter(code => !OWN_NAME.test(code)).join('\n');
  if (tour) programs.set('tour.mjs', tour);
  for (const [name, code] of programs) {
    const program = code.replaceAll(`'tfjs-diffusers'`, `'${LIBRARY}'`)
      .replaceAll('node_modules/tfjs-diffusers/models/shapes', resolve('models/shapes').replaceAll('\\', '/'));
    writeFileSync(join(folder, name), program);
  }
  writeFileSync(join(folder, 'all.mjs'), [...programs.keys()].map(name => `await import('./${name}');\n`).join('')); // one process: each start takes a second
  await promisify(execFile)(process.execPath, ['all.mjs'], { cwd: folder });
  return [...programs.values()].flatMap(code => [...code.matchAll(/save\('(.*?)'\)/g)].map(([, file]) => file));
}
