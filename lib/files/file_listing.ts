import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { checkRelativePath, ModelFileError } from './model_folder.js';

/**
 * The file in which a folder says what it has, `{ "unet/config.json": 1234, ... }`, with sizes in bytes: a web server is then asked for no
 * file that may be missing, which many answer with a page. Every folder that is written here has it.
 */
export const FILE_LISTING = 'files.json';

/** @param name what errors call it. @throws ModelFileError for what is no listing. */
export function parseFileListing(name: string, value: unknown): ReadonlyMap<string, number> {
  if (!isObject(value)) throw new ModelFileError(`${name}: got ${show(value)}, takes { path: bytes, ... }`);
  return new Map(Object.entries(value).map(([path, size]) => {
    if (Number.isSafeInteger(size) && (size as number) >= 0) return [checkRelativePath(path), size as number];
    throw new ModelFileError(`${name}: ${show(path)}: got ${show(size)}, takes its size in bytes`);
  }));
}
