import { parseJson } from '../core/json.js';
import { BlobFolder } from './blob_folder.js';
import { FILE_LISTING, parseFileListing } from './file_listing.js';
import { checkRelativePath, ModelFileError, type DownloadProgress } from './model_folder.js';
import { ProgressSum } from './progress_sum.js';

const cacheName = 'tfjs-diffusers';

/** Options of a `FetchFolder`. */
export interface FetchFolderOptions {
  /** What errors call the folder; its address by default. */
  name?: string;
  /**
   * Its files and their sizes, if you know them: sizes are then checked, and files that are not listed are never asked for. By default the
   * folder's own files.json lists them; without one the server is asked for each file.
   */
  files?: ReadonlyMap<string, number | undefined>;
  /** Sent with each request. */
  headers?: Record<string, string>;
  /** Called while files are fetched. */
  progressCallback?: (progress: DownloadProgress) => void;
  /** Ends fetching. */
  signal?: AbortSignal;
}

/**
 * A model on the web. What was fetched stays in the browser's Cache Storage, by address, and is not asked for again, also offline: if the
 * content changes, the address has to change too.
 */
export class FetchFolder extends BlobFolder {
  private readonly base: string;
  private listing?: Promise<FetchFolderOptions['files']>;
  private readonly present = new Map<string, Promise<boolean>>();

  /**
   * @param url the folder's address, absolute or relative to the page; in a worker relative to the worker's script, like everything that a
   *   worker fetches.
   * @throws ModelFileError for a relative address where there is nothing that it could be relative to.
   */
  constructor(url: string, private readonly options: FetchFolderOptions = {}) {
    const base = absolute(url.replace(/\/*$/, '/'));
    super(options.name ?? base.replace(/\/+$/, ''));
    this.base = base;
  }

  override async has(path: string): Promise<boolean> {
    const files = await this.files();
    if (files) return files.has(checkRelativePath(path));
    const answer = this.present.get(path) ?? this.ask(path);
    this.present.set(path, answer);
    answer.catch(() => this.present.delete(path));
    return answer;
  }

  /** Fetches those of the files that exist and are not in the cache yet. */
  async prefetch(paths: readonly string[]): Promise<void> {
    const files = await this.files();
    const missing = (await Promise.all(paths.map(async path => await this.has(path) && !await this.cached(path) ? [path] : []))).flat();
    const { progressCallback } = this.options;
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

  private files(): Promise<FetchFolderOptions['files']> {
    return this.listing ??= this.readListing().catch(error => {
      this.listing = undefined;
      throw error;
    });
  }

  /** Undefined where the folder has none, or cannot be reached: what is fetched next says why. */
  private async readListing(): Promise<FetchFolderOptions['files']> {
    const { files, headers, signal } = this.options;
    if (files) return files;
    let blob = await this.cached(FILE_LISTING);
    if (!blob) {
      const response = await this.fetch(FILE_LISTING, { headers, signal }).catch((error: Error) => {
        if (error instanceof ModelFileError) return undefined;
        throw error;
      });
      if (!response?.ok || isPage(response)) return undefined;
      blob = await response.blob();
      await this.keep(FILE_LISTING, blob);
    }
    const name = `${this.name}/${FILE_LISTING}`;
    return parseFileListing(name, parseJson(name, await blob.text()));
  }

  /** Whether the server has a file. A page is no file of a model: it is what many servers answer where there is none. */
  private async ask(path: string): Promise<boolean> {
    if (await this.cached(path)) return true;
    const { headers, signal } = this.options;
    const response = await this.fetch(path, { method: 'HEAD', headers, signal });
    if (!response.ok && response.status !== 404) throw this.refusal(path, response);
    if (!isPage(response)) return response.ok;
    if (path === 'model_index.json') throw this.refusal(path, response); // where that is asked for, there is nothing else
    return false;
  }

  private async cached(path: string): Promise<Blob | undefined> {
    const response = await (await openCache())?.match(this.address(path));
    return response?.blob();
  }

  /** A download that ends early is not kept: the cache takes whole answers only. */
  private async download(path: string, onBytes: (count: number) => void = () => {}): Promise<Blob> {
    const { headers, signal } = this.options;
    const response = await this.fetch(path, { headers, signal });
    if (!response.ok || isPage(response)) throw this.refusal(path, response);
    const counted = new TransformStream<Uint8Array, Uint8Array>({
      transform(bytes, controller) {
        onBytes(bytes.length);
        controller.enqueue(bytes);
      },
    });
    const blob = await new Response(response.body?.pipeThrough(counted)).blob();
    const size = (await this.files())?.get(path) ?? blob.size;
    if (blob.size !== size) throw new ModelFileError(`${this.name}/${path}: is ${blob.size} bytes long, takes ${size}`);
    await this.keep(path, blob);
    return blob;
  }

  private async keep(path: string, blob: Blob): Promise<void> {
    try {
      await (await openCache())?.put(this.address(path), new Response(blob));
    } catch (error) {
      console.warn(`${this.name}/${path}: is not kept for the next visit: ${(error as Error).message}`); // no room
    }
  }

  private async fetch(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(this.address(path), init);
    } catch (error) {
      init.signal?.throwIfAborted();
      throw new ModelFileError(`${this.name}/${path}: cannot be fetched: ${(error as Error).message}`, { cause: error });
    }
  }

  private refusal(path: string, response: Response): ModelFileError {
    const { status } = response;
    const why = status === 404 ? 'there is no such file' : !response.ok ? `the server answers ${status}`
      : 'the server answers with a page (HTML), as many do where there is no such file: is the address right?';
    return new ModelFileError(`${this.name}/${path}: ${why}`);
  }

  private address(path: string): string {
    return this.base + checkRelativePath(path).split('/').map(encodeURIComponent).join('/');
  }
}

/** As a page or a worker's script resolves an address. */
function absolute(url: string): string {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  if (URL.canParse(url, base)) return new URL(url, base).href;
  throw new ModelFileError(`${url}: takes a whole address here, as in 'https://host/models/shapes': ` +
    'there is no page that it is relative to');
}

function isPage(response: Response): boolean {
  return /^text\/html\b/i.test(response.headers.get('Content-Type') ?? '');
}

/** Undefined where the browser has none: in Node, in a page that came without encryption, in some private windows. */
async function openCache(): Promise<Cache | undefined> {
  try {
    return await caches.open(cacheName);
  } catch {
    return undefined;
  }
}
