import { BlobFolder } from './blob_folder.js';
import { checkRelativePath, ModelFileError, type DownloadProgress } from './model_folder.js';
import { ProgressSum } from './progress_sum.js';

const cacheName = 'tfjs-diffusers';

export interface FetchFolderOptions {
  /** What errors call the folder; its address by default. */
  name?: string;
  /** Its files and their sizes, where they are known: sizes are then checked, and files that are not listed never asked for. */
  files?: ReadonlyMap<string, number | undefined>;
  /** Sent with each request. */
  headers?: Record<string, string>;
  /** Called while files are fetched. */
  progressCallback?: (progress: DownloadProgress) => void;
  signal?: AbortSignal;
}

/**
 * A model on the web. What was fetched stays in the browser's Cache Storage, by address, and is not asked for again, also offline:
 * content that changes needs an address that changes.
 */
export class FetchFolder extends BlobFolder {
  private readonly base: string;

  /** @param url the folder's address, absolute or relative to the page. */
  constructor(url: string, private readonly options: FetchFolderOptions = {}) {
    super(options.name ?? url);
    this.base = new URL(url.replace(/\/*$/, '/'), globalThis.location?.href).href;
  }

  override async has(path: string): Promise<boolean> {
    const { files, headers, signal } = this.options;
    if (files) return files.has(checkRelativePath(path));
    if (await this.cached(path)) return true;
    const response = await this.fetch(path, { method: 'HEAD', headers, signal });
    if (!response.ok && response.status !== 404) throw this.refusal(path, response);
    return response.ok;
  }

  /** Fetches those of the files that exist and are not in the cache yet. */
  async prefetch(paths: readonly string[]): Promise<void> {
    const missing = (await Promise.all(paths.map(async path => await this.has(path) && !await this.cached(path) ? [path] : []))).flat();
    const { files, progressCallback } = this.options;
    const total = missing.reduce((sum, path) => sum + (files?.get(path) ?? 0), 0);
    const progress = new ProgressSum(total, 0, missing.length, progressCallback);
    for (const path of missing) {
      await this.download(path, bytes => progress.add(bytes));
      progress.fileDone();
    }
  }

  protected async find(path: string): Promise<Blob | undefined> {
    return await this.cached(path) ?? (await this.has(path) ? this.download(path) : undefined);
  }

  private async cached(path: string): Promise<Blob | undefined> {
    const response = await (await openCache())?.match(this.address(path));
    return response?.blob();
  }

  /** A download that ends early is not kept: the cache takes whole answers only. */
  private async download(path: string, onBytes: (count: number) => void = () => {}): Promise<Blob> {
    const { files, headers, signal } = this.options;
    const response = await this.fetch(path, { headers, signal });
    if (!response.ok) throw this.refusal(path, response);
    const counted = new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        onBytes(bytes.length);
        controller.enqueue(bytes);
      },
    });
    const blob = await new Response(response.body?.pipeThrough(counted)).blob();
    const size = files?.get(path) ?? blob.size;
    if (blob.size !== size) throw new ModelFileError(`${this.name}/${path}: is ${blob.size} bytes long, takes ${size}`);
    try {
      await (await openCache())?.put(this.address(path), new Response(blob));
    } catch (error) {
      console.warn(`${this.name}/${path}: is not kept for the next visit: ${(error as Error).message}`); // no room
    }
    return blob;
  }

  private async fetch(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(this.address(path), init);
    } catch (error) {
      init.signal?.throwIfAborted();
      throw new ModelFileError(`${this.name}/${path}: cannot be fetched: ${(error as Error).message}`, { cause: error });
    }
  }

  private refusal(path: string, { status }: Response): ModelFileError {
    return new ModelFileError(`${this.name}/${path}: ${status === 404 ? 'there is no such file' : `the server answers ${status}`}`);
  }

  private address(path: string): string {
    return this.base + checkRelativePath(path).split('/').map(encodeURIComponent).join('/');
  }
}

/** Undefined where the browser has none: in Node, in a page that came without encryption, in some private windows. */
async function openCache(): Promise<Cache | undefined> {
  try {
    return await caches.open(cacheName);
  } catch {
    return undefined;
  }
}
