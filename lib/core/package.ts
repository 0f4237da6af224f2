import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The folder of this package, wherever the compiled files lie in it; where these are in a bundle, what was copied beside it. */
export function packageFolder(): string {
  for (let folder = import.meta.dirname ?? '.'; ; folder = dirname(folder)) { // some bundlers know no dirname
    if (existsSync(join(folder, 'models', 'clip-tokenizer'))) return folder;
    if (folder === dirname(folder)) {
      throw new Error('tfjs-diffusers: its folder models/clip-tokenizer is missing: install it anew, or copy that beside your bundle');
    }
  }
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageFolder(), 'package.json'), 'utf8')) as { version: string }).version;
}
