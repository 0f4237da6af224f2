import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { packageFolder } from '../core/package.js';

/** The text of merges.txt, which this package has in models/clip-tokenizer. */
export async function readClipMerges(): Promise<string> {
  return (await promisify(gunzip)(await readFile(join(packageFolder(), 'models/clip-tokenizer/merges.txt.gz')))).toString();
}
