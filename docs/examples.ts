import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const LIBRARY = new URL('../lib/index.js', import.meta.url).href;

/**
 * Runs the examples of a page in `folder`, as one program, with this clone's library and bundled model.
 * @param page of Markdown; its blocks of `ts`, from top to bottom.
 * @returns the pictures that the program saves.
 * @throws what went wrong, as the program said it.
 */
export async function runExamples(page: string, folder: string): Promise<string[]> {
  const blocks = [...readFileSync(page, 'utf8').matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);
  const program = blocks.join('\n').replaceAll(`'tfjs-diffusers'`, `'${LIBRARY}'`)
    .replaceAll('node_modules/tfjs-diffusers/models/shapes', resolve('models/shapes').replaceAll('\\', '/'));
  writeFileSync(join(folder, 'tour.mjs'), program);
  await promisify(execFile)(process.execPath, ['tour.mjs'], { cwd: folder });
  return [...program.matchAll(/save\('(.*?)'\)/g)].map(([, file]) => file);
}
