import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runExamples } from '../../docs/examples.js';
import { temporaryFolder } from '../support/temporary_folder.js';

describe('Examples in the docs', () => {
  const folder = temporaryFolder();

  for (const page of ['README.md', 'docs/getting_started.md', 'docs/own_model.md', 'docs/beyond_the_prompt.md', 'docs/schedulers.md', 'docs/servers.md']) {
    const text = readFileSync(page, 'utf8');

    if (page !== 'docs/servers.md') it(`${page} runs from top to bottom`, async () => { // a server does not end: see servers.spec.ts
      for (const file of await runExamples(page, folder())) assert.ok(existsSync(join(folder(), file)), file);
    });

    it(`${page} points to files that exist`, () => {
      for (const [, link] of text.matchAll(/(?:\]\(|src=")(?!https?:)([^)#"]+)/g)) {
        assert.ok(existsSync(resolve(page, '..', link)), `${page}: ${link}`);
      }
    });
  }
});
