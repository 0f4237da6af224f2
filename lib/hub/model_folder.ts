import { show } from '../core/checks.js';
import type { ByteSource } from '../weights/safetensors.js';

/**
 * Where a model's files come from. Paths are relative to the folder, with forward slashes, and never leave it.
 * Every error of its methods begins with the folder's name and the path.
 */
export interface ModelFolder {
  /** What a user would call it: a path or a hub id. */
  readonly name: string;
  /** Whether there is a file at `path`; a folder is none. */
  has(path: string): Promise<boolean>;
  /** The parsed JSON file. Its content is unchecked. */
  readJson(path: string): Promise<unknown>;
  /** The file as UTF-8 text, up to 50 MB. */
  readText(path: string): Promise<string>;
  /** The file's bytes, read as needed. The caller closes it. */
  open(path: string): Promise<ByteSource>;
}

/** A file of a model that is not there, leaves its folder or cannot be read. */
export class ModelFileError extends Error {
  override name = 'ModelFileError';
}

/**
 * Checks a relative path that may come from a file or a server: no `..`, no absolute path, no backslash.
 * @throws ModelFileError for a path that could leave its folder.
 */
export function checkRelativePath(path: string): string {
  const harmless = path.split('/').every(part => part !== '' && part !== '.' && part !== '..') && !/[\\:\0]/.test(path);
  if (!harmless) throw new ModelFileError(`path ${show(path)}: takes a path inside the model's folder, as in 'unet/config.json'`);
  return path;
}

/** A local folder by its path, or the given model folder itself. */
export async function openModelFolder(folder: string | ModelFolder): Promise<ModelFolder> {
  if (typeof folder !== 'string') return folder;
  const { LocalFolder } = await import('./local_folder.js'); // only Node has one
  return LocalFolder.open(folder);
}
