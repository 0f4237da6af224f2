import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
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
  /** Where files have to be fetched before they are read: fetches these together. Those that do not exist are left out. */
  prefetch?(paths: readonly string[]): Promise<void>;
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

/** How and from where a model on a hub is loaded; the names are diffusers'. What is not said comes from the environment. */
export interface HubOptions {
  /** A branch, tag or commit; 'main' by default. */
  revision?: string;
  /** Where downloads are kept; by default HF_HUB_CACHE, or `hub` in HF_HOME, which Python's huggingface_hub shares. */
  cacheDir?: string;
  /** Whether to take what was downloaded before, without any connection; also by HF_HUB_OFFLINE=1. */
  localFilesOnly?: boolean;
  /** An access token, for gated and private models; by default HF_TOKEN, or the one of `hf auth login`. False: none. */
  token?: string | false;
  /** The address of the hub; by default HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string;
  /** Called while files are fetched. */
  progressCallback?: (progress: DownloadProgress) => void;
  /** Ends fetching; what came so far is kept, and continued the next time. */
  signal?: AbortSignal;
}

/** How a model is found and opened. */
export interface OpenOptions extends HubOptions {
  /** What the model of a single file was trained to predict, where the file does not tell. Default: as diffusers infers it. */
  predictionType?: 'epsilon' | 'v_prediction';
}

/** How far the fetching of all of a model's files is. */
export interface DownloadProgress {
  stage: 'download';
  /** Bytes that are here, those of an earlier download included, and that will be. */
  loaded: number;
  total: number;
  filesLoaded: number;
  files: number;
  /** On average, since this download began. */
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
  return /\.(safetensors|ckpt|pt|pth|bin)$/i.test(name);
}

/** What a model is loaded from: a path, an id on the hub, an address, each also as a text; or a folder. */
export type ModelSource = string | URL | ModelFolder;

/**
 * What a source is called: a path where it is one of this machine, `file:` addresses too. A folder is given back as it is.
 * @throws TypeError for what is no source.
 */
export async function resolveSource(source: ModelSource): Promise<string | ModelFolder> {
  if (source instanceof URL || (typeof source === 'string' && source !== '')) {
    const { pathOf } = await import('../loading/open_by_name.js'); // only Node has files
    return pathOf(String(source));
  }
  if (isObject(source) && typeof source.has === 'function' && typeof source.open === 'function') return source;
  throw new TypeError(`source: got ${show(source)}, takes a path or an address, an id on the hub, as in 'owner/name', or a ModelFolder`);
}

/**
 * A folder or a single-file checkpoint by its path, else a model on the hub by its id, as in 'owner/name', or a file there by its address;
 * or the given model folder itself.
 * @param named a file in the folder that the user named by its path, so that it may be a link to anywhere.
 */
export async function openModelFolder(source: ModelSource, options: OpenOptions = {}, named?: string): Promise<ModelFolder> {
  const name = await resolveSource(source);
  if (typeof name !== 'string') return name;
  const { openByName } = await import('../loading/open_by_name.js');
  return openByName(name, options, named);
}
