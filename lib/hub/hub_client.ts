import { listFiles, modelInfo } from '@huggingface/hub';
import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { HubError } from './hub_error.js';
import { isCommit } from './hub_id.js';

/** A file of a model on the hub. */
export interface HubFile {
  /** Bytes. */
  readonly size: number;
  /** What its content hashes to: the sha256 of a large file, 64 digits, else git's sha1 of a blob, 40. */
  readonly etag: string;
}

/** The files of one commit, by path. */
export interface HubListing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
}

export interface HubClientOptions {
  /** As in 'https://huggingface.co'. */
  endpoint: string;
  token?: string;
  /** Milliseconds of silence after which a request is given up. */
  timeout: number;
  /** Milliseconds before the first retry; each later pause is twice as long. */
  firstPause?: number;
}

export interface RetryOptions {
  /** How often to try again without any progress. */
  retries: number;
  /** Grows while there is progress, and the count then begins anew. */
  progress?: () => number;
  signal?: AbortSignal;
}

const maxAnswerBytes = 50_000_000;
const maxAnswers = 200; // of up to 1000 files each
const maxRetryAfter = 300_000;

/** Speaks to a hub: over the standard's `fetch` alone, which drops the token where a redirect leads to another host. */
export class HubClient {
  readonly endpoint: string;
  private readonly token?: string;
  private readonly timeout: number;
  private readonly firstPause: number;

  constructor({ endpoint, token, timeout, firstPause = 1000 }: HubClientOptions) {
    this.endpoint = endpoint;
    this.token = token;
    this.timeout = timeout;
    this.firstPause = firstPause;
  }

  /**
   * The commit that `revision` (a branch, tag or commit) of the model `id` is at, and its files, but for entries that no hub would list.
   * @throws HubError if there is no such model or revision, or no access.
   */
  async list(id: string, revision: string, options: RetryOptions): Promise<HubListing> {
    let answers = 0;
    const request = async (input: URL | RequestInfo): Promise<Response> => {
      if (++answers > maxAnswers) throw new HubError(`${id}: its list of files at ${this.endpoint} does not end`);
      return this.retry(() => this.get(id, String(input), {
        missing: `revision ${show(revision)}; its branches and tags are on ${this.page(id)}/tree/main`,
        signal: options.signal,
        receive: async ({ headers }, body) => new Response(await collect(id, body), { headers }),
      }), options);
    };
    try {
      const hub = { hubUrl: this.endpoint, fetch: request };
      const commit = isCommit(revision) ? revision : (await modelInfo({ name: id, revision, additionalFields: ['sha'], ...hub })).sha;
      if (!isCommit(commit)) throw new TypeError(`its commit is ${show(commit)}`);
      const files = new Map<string, HubFile>();
      for await (const entry of listFiles({ repo: { type: 'model', name: id }, revision: commit, recursive: true, ...hub })) {
        const file = entry.lfs ? { size: entry.lfs.size, etag: entry.lfs.oid } : { size: entry.size, etag: entry.oid };
        if (entry.type === 'file' && typeof entry.path === 'string' && isHubFile(file)) files.set(entry.path, file);
      }
      return { commit, files };
    } catch (error) {
      if (error instanceof HubError || options.signal?.aborted) throw error;
      const why = (error as Error).message.replace(/\s+/g, ' ');
      throw new HubError(`${id}: ${this.endpoint} does not answer as a hub does: ${why}; check endpoint or HF_ENDPOINT`, { cause: error });
    }
  }

  /** Where a file's bytes are. */
  fileUrl(id: string, commit: string, path: string): string {
    return `${this.endpoint}/${id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /**
   * One request. `receive` is given the answer and its body, chunk by chunk.
   * @param options.missing what the model `id` lacks if the answer is 404.
   * @throws HubError for an answer other than the one asked for, or none; the signal's reason when aborted; what `receive` throws.
   */
  async get<T>(id: string, url: string, { headers, missing, signal, receive }: {
    headers?: Record<string, string>;
    missing: string;
    signal?: AbortSignal;
    receive: (response: Response, body: AsyncIterable<Uint8Array>) => Promise<T>;
  }): Promise<T> {
    const end = new AbortController();
    /** Waits for the network, but not longer than the timeout. */
    const waitFor = async <R>(work: Promise<R>): Promise<R> => {
      const timer = setTimeout(() => end.abort(new Error(`nothing came for ${this.timeout / 1000} s`)), this.timeout);
      try {
        return await work;
      } catch (error) {
        signal?.throwIfAborted();
        const reason = reasonOf(end.signal.aborted ? end.signal.reason : error);
        throw new HubError(`${id}: ${this.endpoint} cannot be reached: ${reason}`, { transient: true, cause: error });
      } finally {
        clearTimeout(timer);
      }
    };
    const sameHub = new URL(url).origin === new URL(this.endpoint).origin;
    try {
      const response = await waitFor(fetch(url, {
        headers: { ...headers, ...(this.token && sameHub && { Authorization: `Bearer ${this.token}` }) },
        signal: signal ? AbortSignal.any([signal, end.signal]) : end.signal,
      }));
      if (!response.ok) throw this.refusal(id, missing, response);
      return await receive(response, chunksOf(response, waitFor));
    } finally {
      end.abort(); // closes the connection, unless all of it was read
    }
  }

  /** Repeats what failed for a reason that may pass, after pauses that grow, or as long as the hub asks for. */
  async retry<T>(attempt: () => Promise<T>, { retries, progress = () => 0, signal }: RetryOptions): Promise<T> {
    let reached = progress();
    for (let failures = 0; ; failures++) {
      try {
        return await attempt();
      } catch (error) {
        if (progress() > reached) {
          reached = progress();
          failures = 0;
        }
        if (!(error instanceof HubError) || !error.transient || failures === retries) throw error;
        await pause(error.retryAfter ?? this.firstPause * 2 ** failures, signal);
      }
    }
  }

  private page(id: string): string {
    return `${this.endpoint}/${id}`;
  }

  /** What an answer means, in a line that says what to do. */
  private refusal(id: string, missing: string, response: Response): HubError {
    const { endpoint, token } = this;
    const { status, url } = response;
    if (url && new URL(url).origin !== new URL(endpoint).origin) { // the next try is led there anew
      const { host } = new URL(url);
      return new HubError(`${id}: ${host}, where ${endpoint} leads, answers ${status}: try again later`, { transient: true, status });
    }
    const code = response.headers.get('X-Error-Code');
    const retryAfter = parseRetryAfter(response.headers.get('Retry-After'));
    const withToken = `pass token or set HF_TOKEN (tokens are made on ${endpoint}/settings/tokens)`;
    if (code === 'GatedRepo') {
      return new HubError(`${id}: is gated: accept its conditions on ${this.page(id)}, ${
        token ? 'as the one whose token you use' : `then ${withToken}`}`, { status, code });
    }
    if (code === 'RevisionNotFound' || code === 'EntryNotFound') return new HubError(`${id}: has no ${missing}`, { status, code });
    if (token && (response.headers.get('X-Error-Message') ?? '').startsWith('Invalid credentials')) {
      return new HubError(`${id}: ${endpoint} does not accept the token: ${withToken}`, { status, code });
    }
    if (code === 'RepoNotFound' || status === 401 || status === 404) {
      return new HubError(`${id}: there is no such folder here, and no such model on ${endpoint}, or it is private: ` +
        `look at ${this.page(id)}; for a private one ${token ? 'use a token that may read it' : withToken}`, { status, code });
    }
    if (status === 403) {
      return new HubError(`${id}: ${endpoint} refuses access: look at ${this.page(id)}, and what your token may read`, { status, code });
    }
    if ([408, 416, 429].includes(status) || status >= 500) {
      const tooLong = retryAfter !== undefined && retryAfter > maxRetryAfter;
      const wait = tooLong ? ` and asks to wait ${Math.ceil(retryAfter / 1000)} s` : '';
      const advice = status === 429 && !token ? `try again later, or ${withToken}` : 'try again later';
      return new HubError(`${id}: ${endpoint} answers ${status}${wait}: ${advice}`, { transient: !tooLong, status, code, retryAfter });
    }
    return new HubError(`${id}: ${endpoint} answers ${status}`, { status, code });
  }
}

function isHubFile(file: { size?: unknown; etag?: unknown }): file is HubFile {
  const { size, etag } = file;
  return Number.isSafeInteger(size) && (size as number) >= 0 && typeof etag === 'string' && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag);
}

async function* chunksOf(response: Response, waitFor: <R>(work: Promise<R>) => Promise<R>): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await waitFor(reader.read());
    if (done) return;
    yield value;
  }
}

async function collect(id: string, body: AsyncIterable<Uint8Array>): Promise<Blob> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) throw new HubError(`${id}: the hub's answer is longer than ${maxAnswerBytes} bytes`);
    chunks.push(new Uint8Array(chunk));
  }
  return new Blob(chunks);
}

/** Seconds or a date -> milliseconds from now. */
function parseRetryAfter(header: string | null): number | undefined {
  if (!header) return undefined;
  const wait = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

/** fetch hides in `cause` what went wrong. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  const inner = isObject(cause) ? cause.message || cause.code : undefined;
  return String(inner || message).replace(/\s+/g, ' ');
}

async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
