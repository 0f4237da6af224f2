import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { DEMO_MODEL } from '../support/demo_model.js';
import { temporaryFolder } from '../support/temporary_folder.js';

const library = new URL('../../lib/index.js', import.meta.url).href;

describe('Examples in the docs', () => {
  const folder = temporaryFolder();

  for (const page of ['README.md', 'docs/getting_started.md', 'docs/beyond_the_prompt.md']) {
    const text = readFileSync(page, 'utf8');

    it(`${page} runs from top to bottom`, async () => {
      const blocks = [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);
      const program = blocks.join('\n').replaceAll(`'tfjs-diffusers'`, `'${library}'`)
        .replaceAll('node_modules/tfjs-diffusers/models/shapes', resolve(DEMO_MODEL).replaceAll('\\', '/'));
      writeFileSync(join(folder(), 'tour.mjs'), program);
      await promisify(execFile)(process.execPath, ['tour.mjs'], { cwd: folder() }); // rejects with what went wrong
      for (const [, file] of program.matchAll(/save\('(.*?)'\)/g)) assert.ok(existsSync(join(folder(), file)), file);
    });

    it(`${page} points to files that exist`, () => {
      for (const [, link] of text.matchAll(/(?:\]\(|src=")(?!https?:)([^)#"]+)/g)) {
        assert.ok(existsSync(resolve(page, '..', link)), `${page}: ${link}`);
      }
    });
  }
});
