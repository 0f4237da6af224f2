import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { ByteSource } from './byte_source.js';

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
  /** Where files have to be fetched before they are read: fetches these together. Those that do not exist are left out. */
  prefetch?(paths: readonly string[]): Promise<void>;
}

export function isModelFolder(value: unknown): value is ModelFolder {
  return isObject(value) && typeof value.has === 'function' && typeof value.open === 'function';
}

const maxTextBytes = 50_000_000;

/** All of a source as UTF-8 text, and closes it: what `readText` of a folder gives. @param name what errors call it. */
export async function readText(name: string, source: ByteSource): Promise<string> {
  try {
    if (source.size > maxTextBytes) throw new ModelFileError(`${name}: is ${source.size} bytes long, takes up to ${maxTextBytes}`);
    return new TextDecoder('utf-8', { fatal: true }).decode(await source.read(0, source.size));
  } catch (error) {
    throw error instanceof TypeError ? new ModelFileError(`${name}: is not UTF-8 text`, { cause: error }) : error;
  } finally {
    await source.close();
  }
}

/** How far the fetching of all of a model's files is. */
export interface DownloadProgress {
  /** Tells it from the progress of reading weights. */
  stage: 'download';
  /** Bytes that are here, those of an earlier download included. */
  loaded: number;
  /** Bytes of all files together. */
  total: number;
  /** Files that are here as a whole. */
  filesLoaded: number;
  /** How many files there are to fetch. */
  files: number;
  /** Bytes per second, on average since this download began. */
  bytesPerSecond: number;
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

/** Whether a name is that of a file of weights, by its end. */
export function isWeightFile(name: string): boolean {
  return /\.(safetensors|gguf|ckpt|pt|pth|bin)$/i.test(name);
}

/** What a model is loaded from: a path, an id on the hub, an address, each also as a text; or a folder. */
export type ModelSource = string | URL | ModelFolder;
