import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HubCache } from '../../lib/hub/hub_cache.js';
import { HubClient } from '../../lib/hub/hub_client.js';
import { HubFolder } from '../../lib/hub/hub_folder.js';
import { isHubId } from '../../lib/hub/hub_id.js';
import { checkRelativePath, ModelFileError } from '../../lib/files/model_folder.js';
import { openByName } from '../../lib/loading/open_by_url.js';
import { modelFiles } from '../../lib/loading/weight_files.js';
import { json, text, type Target } from './target.js';

const endpoint = 'http://hub.invalid';
const commit = '0123456789'.repeat(4);
const content = '{}'; // of every file
const sha1 = createHash('sha1').update(`blob ${content.length}\0${content}`).digest('hex');
const sha256 = createHash('sha256').update(content).digest('hex');

/** Names that a user or a file gives, and what a server says that is no hub, or a hostile one. */
export function hubTargets(): Target[] {
  const tree = [
    { type: 'directory', path: 'unet', oid: commit, size: 0 }, { type: 'file', path: 'unet/config.json', oid: sha1, size: 2 },
    { type: 'file', path: 'unet/diffusion_pytorch_model.safetensors', oid: commit, size: 2, lfs: { oid: sha256, size: 2, pointerSize: 130 } },
    { type: 'file', path: 'unet/model.safetensors', oid: sha1, size: 2 },
  ];
  const model = { _id: '1', id: 'owner/name', modelId: 'owner/name', sha: commit, private: false, gated: false, tags: [], siblings: tree.map(({ path, size }) => ({ rfilename: path, size })) };
  return [
    {
      name: 'hub names', isJson: false, seeds: ['owner/name', 'unet/diffusion_pytorch_model.fp16.safetensors', 'refs/pr/1', '../../etc/passwd'].map(each => new TextEncoder().encode(each)),
      read: async bytes => {
        const name = text(bytes);
        if (isHubId(name)) stays('/cache', new HubCache('/cache', name).snapshot(commit));
        await HubFolder.open('owner/name', { revision: name, localFilesOnly: true, cacheDir: '/nowhere' }).catch(error => {
          if (!/is not in \/nowhere/.test(error.message)) throw error;
        });
        stays('/cache', join('/cache', checkRelativePath(name)));
        const url = new URL(new HubClient({ endpoint, timeout: 1 }).fileUrl('owner/name', commit, name));
        if (url.origin !== endpoint || !url.pathname.startsWith(`/owner/name/resolve/${commit}/`) || url.search || url.hash) throw new Error(`asks for ${url}`);
      },
    },
    {
      name: 'what a hub lists', isJson: true, seeds: [json(tree)],
      read: bytes => answering(url => url.includes('/tree/') ? bytes : json(model), readFromHub),
    },
    { name: 'what a hub says of a model', isJson: true, seeds: [json(model)], read: bytes => answering(url => url.includes('/tree/') ? json(tree) : bytes, readFromHub) },
    {
      name: 'what a hub says to a page', isJson: true, seeds: [json(model)],
      read: bytes => answering(() => bytes, async () => {
        const folder = await openByName('owner/name', { endpoint });
        await modelFiles(folder, { subfolder: 'unet' });
        await folder.has('../secret').catch(() => undefined);
      }),
    },
  ];
}

/** Fetches a network's files as the loaders do, from whatever the hub lists, into a folder of which nothing may get out. */
async function readFromHub(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'fuzz-'));
  try {
    const failed = await fetchNetwork(join(root, 'a/b/cache')).catch((error: Error) => error);
    const inside = ['a', 'a/b', 'a/b/cache', 'a/b/cache/models--owner--name'].map(folder => join(root, folder));
    const outside = inside.flatMap((folder, i) => readNames(i ? inside[i - 1] : root).filter(name => !folder.endsWith(`/${name}`)));
    if (outside.length > 0) throw new Error(`wrote ${outside} outside`);
    if (failed && /does not answer as a hub does/.test(failed.message)) throw new ModelFileError('no hub', { cause: failed }); // the reason is in the words of the engine
    if (failed) throw failed;
  } finally {
    rmSync(root, { recursive: true });
  }
}

async function fetchNetwork(cacheDir: string): Promise<void> {
  const folder = await HubFolder.open('owner/name', { endpoint, token: false, cacheDir }, { firstPause: 0 });
  await folder.prefetch!(await modelFiles(folder, { subfolder: 'unet' }));
  await folder.readJson('unet/config.json');
}

function readNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Runs `work` while every request for a file gets its content, and every other what `answer` says. */
async function answering(answer: (url: string) => Uint8Array, work: () => Promise<void>): Promise<void> {
  const { fetch } = globalThis;
  globalThis.fetch = async input => new Response(String(input).includes('/resolve/') ? content : answer(String(input)) as BodyInit);
  try {
    await work();
  } finally {
    globalThis.fetch = fetch;
  }
}

function stays(root: string, path: string): void {
  if (!path.startsWith(`${root}/`)) throw new Error(`left the cache: ${path}`);
}
