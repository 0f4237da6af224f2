import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const LIBRARY = new URL('../lib/index.js', import.meta.url).href;
const SERVER = new URL('../lib/server/index.js', import.meta.url).href;

/** The name of a block that is a program of its own. */
const OWN_NAME = /^\/\/ (\S+\.mjs)\n/;

export interface ExampleOptions {
  /** Of the blocks that are run; `ts` by default. */
  language?: 'ts' | 'js';
  /** What stands in the programs in the place of what is in the page, as small models for large ones. */
  replace?: Readonly<Record<string, string>>;
}

/**
 * Runs the examples of a page in `folder`, with this clone's library and bundled model.
 * @param page of Markdown; its blocks of the language are one program, from top to bottom, except for those that begin with a file's name,
 *   as in `// seeds.mjs`, each of which is a program by itself.
 * @returns the pictures that the programs save.
 * @throws what went wrong, as the program said it.
 */
export async function runExamples(page: string, folder: string, options: ExampleOptions = {}): Promise<string[]> {
  const { language = 'ts', replace = {} } = options;
  const inPlace = Object.entries({
    [`'tfjs-diffusers'`]: `'${LIBRARY}'`, [`'tfjs-diffusers/server'`]: `'${SERVER}'`,
    'node_modules/tfjs-diffusers/models/shapes': resolve('models/shapes').replaceAll('\\', '/'), ...replace,
  });
  const all = [...readFileSync(page, 'utf8').matchAll(/^```(\w+)\n(.*?)^```/gms)];
  const blocks = all.filter(([, of]) => of === language).map(([, , code]) => code);
  const programs = new Map(blocks.filter(code => OWN_NAME.test(code)).map(code => [OWN_NAME.exec(code)![1], code]));
  const tour = blocks.filter(code => !OWN_NAME.test(code)).join('\n');
  if (tour) programs.set('tour.mjs', tour);
  for (const [name, code] of programs) {
    const program = inPlace.reduce((text, [from, to]) => text.replaceAll(from, to), code);
    writeFileSync(join(folder, name), program);
  }
  writeFileSync(join(folder, 'all.mjs'), [...programs.keys()].map(name => `await import('./${name}');\n`).join('')); // one process: each start takes a second
  await promisify(execFile)(process.execPath, ['all.mjs'], { cwd: folder });
  return [...programs.values()].flatMap(code => [...code.matchAll(/save\('(.*?)'\)/g)].map(([, file]) => file));
}
