import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runExamples } from '../../docs/examples.js';
import { temporaryFolder } from '../support/temporary_folder.js';

describe('Examples in the docs', () => {
  const folder = temporaryFolder();

  for (const page of [
    'README.md', 'docs/getting_started.md', 'docs/own_model.md', 'docs/beyond_the_prompt.md', 'docs/schedulers.md', 'docs/servers.md', 'docs/serving.md',
    'docs/coming_from_diffusers.md', 'docs/recipes.md', 'docs/troubleshooting.md', 'docs/memory_and_time.md', 'docs/overview.md',
  ]) {
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

  it('docs/troubleshooting.md quotes what the library says', () => {
    const files = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'));
    const code = files.map(file => readFileSync(join('lib', file), 'utf8')).join('').replaceAll('\\', '')
      .replace(/['`]\s*\+\s*['`]/g, ''); // texts that go on in the next line
    const quotes = [...readFileSync('docs/troubleshooting.md', 'utf8').matchAll(/^\| (`+)(.+?)\1 \|/gm)].map(([, , quote]) => quote.trim());
    assert.ok(quotes.length > 60);
    const pieces = quotes.flatMap(quote => quote.split('…')).map(piece => piece.replace(/^[\s:;,.]+|[\s:;,.]+$/g, ''));
    assert.deepEqual(pieces.filter(piece => !code.includes(piece)), []);
  });
});
