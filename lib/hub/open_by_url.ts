import { FetchFolder } from './fetch_folder.js';
import type { HubListing } from './hub_client.js';
import { isHubId } from './hub_id.js';
import type { HubOptions, ModelFolder } from './model_folder.js';

const cacheName = 'tfjs-diffusers-hub';

/**
 * What a page has instead of open_by_name.ts: bundlers take this file by the `browser` field of package.json.
 * A model on the hub by its id, or a folder by its address: './models/shapes' is relative to the page.
 */
export async function openByName(name: string, options: HubOptions): Promise<ModelFolder> {
  const { signal, token, progressCallback, endpoint = 'https://huggingface.co', revision = 'main' } = options;
  if (!isHubId(name)) return new FetchFolder(name, { progressCallback, signal });
  const { HubClient, HubError } = await import('./hub_client.js');
  const client = new HubClient({ endpoint, token: token || undefined, timeout: 10_000 });
  const cache = await caches.open(cacheName).catch(() => undefined);
  const key = client.fileUrl(name, revision, '');
  const remembered: [commit: string, files: Array<[path: string, size: number]>] | undefined = await (await cache?.match(key))?.json();
  let listing = remembered;
  try {
    const { commit, files }: HubListing = await client.list(name, revision, { retries: remembered ? 0 : 2, signal });
    listing = [commit, [...files].map(([path, { size }]) => [path, size])];
    await cache?.put(key, Response.json(listing));
  } catch (error) {
    if (!remembered || !(error instanceof HubError) || !error.transient) throw error; // without a connection, what is here is good enough
  }
  const [commit, files] = listing!;
  const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
  return new FetchFolder(client.fileUrl(name, commit, ''), { name, files: new Map(files), headers, progressCallback, signal });
}
