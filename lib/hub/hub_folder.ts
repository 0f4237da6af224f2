import { mkdir, statfs } from 'node:fs/promises';
import { show } from '../core/checks.js';
import { formatBytes } from '../core/format.js';
import type { ByteSource } from '../files/byte_source.js';
import { LocalFolder } from '../files/local_folder.js';
import { checkRelativePath, ModelFileError, type DownloadProgress, type ModelFolder } from '../files/model_folder.js';
import { ProgressSum } from '../files/progress_sum.js';
import { HubCache, sizeOf } from './hub_cache.js';
import { HubClient, type HubFile, type HubListing } from './hub_client.js';
import { Download } from './hub_download.js';
import { HubError } from './hub_error.js';
import { readHubSettings, type HubSettings, type HubOptions } from './hub_settings.js';

const parallelDownloads = 4;

/** One content to fetch, and the paths that have it. */
interface Wanted {
  file: HubFile;
  paths: string[];
}

/** A model on the hub. A file is fetched when it is read, or before, by `prefetch`, and stays in the cache. */
export class HubFolder implements ModelFolder {
  private constructor(
    readonly name: string, private readonly revision: string, private readonly listing: HubListing, private readonly client: HubClient,
    private readonly cache: HubCache, private readonly settings: HubSettings, private readonly local: LocalFolder,
    private readonly options: HubOptions,
  ) {}

  /**
   * The model `id` at a revision: on the hub, or in the cache alone if nothing may be fetched or the hub cannot be reached.
   * @throws HubError if there is no such model or revision, no access, or no connection and nothing in the cache.
   */
  static async open(id: string, options: HubOptions = {}, clientOptions: { firstPause?: number } = {}): Promise<ModelFolder> {
    const { signal } = options;
    const revision = checkRevision(options.revision ?? 'main');
    const settings = await readHubSettings(options);
    const cache = new HubCache(settings.cacheDir, id);
    const cached = await cache.commitOf(revision);
    const openCached = (commit: string) => LocalFolder.open(cache.snapshot(commit), `${id} (cached files only)`);
    if (settings.offline) {
      if (cached) return openCached(cached);
      throw new HubError(`${id}: revision ${show(revision)} is not in ${settings.cacheDir}, and nothing may be fetched: ` +
        `load it once without ${options.localFilesOnly ? 'localFilesOnly' : 'HF_HUB_OFFLINE'}`);
    }
    const client = new HubClient({ ...settings, ...clientOptions });
    let listing: HubListing;
    try {
      listing = await client.list(id, revision, { retries: cached ? 0 : 2, signal });
    } catch (error) {
      if (!cached || !(error instanceof HubError) || error.code === 'RevisionNotFound') throw error;
      console.warn(`${error.message}; using what is in the cache`);
      return openCached(cached);
    }
    const snapshot = cache.snapshot(listing.commit);
    await mkdir(snapshot, { recursive: true }).catch(error => { throw cacheError(id, settings.cacheDir, error); });
    return new HubFolder(id, revision, listing, client, cache, settings, await LocalFolder.open(snapshot, id), options);
  }

  async has(path: string): Promise<boolean> {
    return this.listing.files.has(checkRelativePath(path));
  }

  async readJson(path: string): Promise<unknown> {
    await this.fetch([path]);
    return this.local.readJson(path);
  }

  async readText(path: string): Promise<string> {
    await this.fetch([path]);
    return this.local.readText(path);
  }

  async open(path: string): Promise<ByteSource> {
    await this.fetch([path]);
    return this.local.open(path);
  }

  async prefetch(paths: readonly string[]): Promise<void> {
    await this.fetch(paths, this.options.progressCallback);
    await this.cache.setCommitOf(this.revision, this.listing.commit);
  }

  /** Puts those of the files into the snapshot that are on the hub and not there yet. */
  private async fetch(paths: readonly string[], onProgress?: (progress: DownloadProgress) => void): Promise<void> {
    const downloads = new Map<Wanted, Download>();
    try {
      for (const wanted of await this.missing(paths)) {
        const blob = this.cache.blob(wanted.file);
        if (await sizeOf(blob) === wanted.file.size) await this.link(wanted);
        else downloads.set(wanted, await Download.open(blob, wanted.file));
      }
      if (downloads.size > 0) await this.run(downloads, onProgress);
    } catch (error) {
      throw cacheError(this.name, this.settings.cacheDir, error);
    } finally {
      await Promise.all([...downloads.values()].map(download => download.leave()));
    }
  }

  /** By content: several paths may have the same. */
  private async missing(paths: readonly string[]): Promise<Iterable<Wanted>> {
    const byEtag = new Map<string, Wanted>();
    for (const path of new Set(paths)) {
      const file = this.listing.files.get(checkRelativePath(path));
      if (!file || await this.cache.has(this.listing.commit, path, file)) continue;
      const wanted = byEtag.get(file.etag) ?? { file, paths: [] };
      wanted.paths.push(path);
      byEtag.set(file.etag, wanted);
    }
    return byEtag.values();
  }

  private async link({ file, paths }: Wanted): Promise<void> {
    for (const path of paths) await this.cache.link(this.listing.commit, path, file);
  }

  /** Fetches several files at once. The first error ends them all. */
  private async run(downloads: Map<Wanted, Download>, onProgress?: (progress: DownloadProgress) => void): Promise<void> {
    const sizes = [...downloads.keys()].map(({ file }) => file.size);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const missing = [...downloads.values()].reduce((sum, download) => sum + download.missing, 0);
    await checkSpace(this.name, this.settings.cacheDir, missing);
    const progress = new ProgressSum(total, total - missing, downloads.size, onProgress);
    const failed = new AbortController();
    const signal = this.options.signal ? AbortSignal.any([this.options.signal, failed.signal]) : failed.signal;
    const queue = [...downloads];
    const work = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [wanted, download] = next;
        signal.throwIfAborted();
        const file = { id: this.name, commit: this.listing.commit, path: wanted.paths[0] };
        await download.run(this.client, file, count => progress.add(count), signal);
        await this.link(wanted);
        progress.fileDone();
      }
    };
    await Promise.all(Array.from({ length: parallelDownloads }, () => work().catch(error => failed.abort(error))));
    failed.signal.throwIfAborted();
  }
}

/** @throws TypeError for what git takes for no name: it becomes a path in the cache. */
function checkRevision(revision: string): string {
  // eslint-disable-next-line no-control-regex -- none of them belongs in a name
  if (typeof revision !== 'string' || !revision || /[\x00-\x20\x7f\\:~^?*[]|(^|\/)(\.|\/|$)|\.\./.test(revision)) {
    throw new TypeError(`revision: got ${show(revision)}, takes a branch, tag or commit, as in 'main'`);
  }
  return revision;
}

/** @throws ModelFileError if `bytes` more do not fit on the disk: better now than after hours. */
async function checkSpace(id: string, cacheDir: string, bytes: number): Promise<void> {
  const disk = await statfs(cacheDir).catch(() => undefined);
  const free = disk ? disk.bavail * disk.bsize : Infinity;
  if (bytes > free) throw noSpace(id, cacheDir, `${formatBytes(bytes)} are missing, ${formatBytes(free)} are free`);
}

function noSpace(id: string, cacheDir: string, why: string, cause?: unknown): ModelFileError {
  const advice = 'make room, or take another disk with cacheDir or HF_HUB_CACHE';
  return new ModelFileError(`${id}: does not fit into ${cacheDir}: ${why}; ${advice}`, { cause });
}

/** An error of the file system, in a line that says what to do; any other as it is. */
function cacheError(id: string, cacheDir: string, error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (!syscall) return error;
  if (['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code!)) return noSpace(id, cacheDir, 'no space is left on the disk', error);
  const reason = ['EACCES', 'EPERM', 'EROFS'].includes(code!) ? 'no permission to write there' : message;
  const advice = 'take another folder with cacheDir or HF_HUB_CACHE';
  return new ModelFileError(`${id}: cannot be kept in ${cacheDir}: ${reason}; ${advice}`, { cause: error });
}
