import { isObject } from '../core/json.js';
import { FetchFolder } from '../files/fetch_folder.js';
import { isWeightFile, ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { HUB } from '../hub/hub_address.js';
import { isCommit, isHubId } from '../hub/hub_id.js';
import type { OpenOptions } from './open_options.js';

const cacheName = 'tfjs-diffusers-hub';

/** A model's commit and its files' sizes. */
interface Listing {
  commit: string;
  files: Array<[path: string, size: number | undefined]>;
}

/** A page has no paths. */
export function pathOf(name: string): string {
  return name;
}

/**
 * What a page has instead of open_by_name.ts: bundlers take this file by the `browser` field of package.json.
 * A model on the hub by its id, or a folder by its address: './models/shapes' is relative to the page, in a worker to its script.
 * @throws ModelFileError if the hub has no such model or revision, or cannot be reached and the model was never opened before.
 */
export async function openByName(name: string, options: OpenOptions): Promise<ModelFolder> {
  const { signal, token, progressCallback, endpoint = HUB, revision = 'main' } = options;
  if (isWeightFile(name)) throw new ModelFileError(`${name}: a page loads folders; convert the file first, with tfjs-diffusers convert`);
  if (!isHubId(name)) return new FetchFolder(name, { progressCallback, signal });
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  const url = `${endpoint}/api/models/${name}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const { commit, files } = await list(name, url, { headers, signal });
  return new FetchFolder(`${endpoint}/${name}/resolve/${commit}`, { name, files: new Map(files), headers, progressCallback, signal });
}

/** Asks the hub, or without a connection what it answered before. */
async function list(id: string, url: string, init: RequestInit): Promise<Listing> {
  const cache = await globalThis.caches?.open(cacheName).catch(() => undefined);
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    init.signal?.throwIfAborted();
    const before = await cache?.match(url);
    if (!before) throw new ModelFileError(`${id}: the hub cannot be reached: ${(error as Error).message}`, { cause: error });
    response = before;
  }
  if ([401, 403, 404].includes(response.status)) {
    throw new ModelFileError(`${id}: the hub has no such model or revision, or it takes a token to read it`);
  }
  if (!response.ok) throw new ModelFileError(`${id}: the hub answers ${response.status}`);
  const copy = response.clone();
  const answer: unknown = await response.json().catch(() => undefined);
  if (!isObject(answer) || !isCommit(answer.sha) || !Array.isArray(answer.siblings)) {
    throw new ModelFileError(`${id}: what answers is no hub`);
  }
  await cache?.put(url, copy);
  const files = answer.siblings.filter(isObject).map(({ rfilename, size }): Listing['files'][0] =>
    [String(rfilename), typeof size === 'number' ? size : undefined]);
  return { commit: answer.sha, files };
}
