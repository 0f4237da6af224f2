import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './until.js';

type Files = Record<string, Uint8Array | string>;

interface Commit {
  sha: string;
  files: Map<string, { bytes: Buffer; oid: string; sha256?: string }>;
}

interface Model {
  commits: Map<string, Commit>;
  refs: Map<string, string>;
  /** Whether only those with TOKEN may read the files (gated), or may know of the model (private). */
  access: 'public' | 'gated' | 'private';
}

export interface HubRequest {
  method: string;
  /** Of the address; those of files end in the file's path. */
  path: string;
  /** Which of the two hosts was asked. */
  host: 'hub' | 'cdn';
  authorization?: string;
  range?: string;
}

/** What may read gated and private models. */
export const TOKEN = 'hf_of_the_spec';

/**
 * A hub on this machine, which speaks as much of the protocol as loading models takes. Files that end in .safetensors or .bin are large ones:
 * the hub sends their readers to another host.
 */
export class HubServer {
  readonly requests: HubRequest[] = [];
  /** Files per page of a list. */
  pageSize = 1000;
  /** Answers in the server's stead where it returns true. */
  intercept?: (request: HubRequest, response: ServerResponse, message: IncomingMessage) => boolean | void;
  private readonly models = new Map<string, Model>();

  private constructor(private readonly hub: Server, private readonly cdn: Server) {
    hub.on('request', (message, response) => this.answer('hub', message, response));
    cdn.on('request', (message, response) => this.answer('cdn', message, response));
  }

  static async start(): Promise<HubServer> {
    const servers = [createServer(), createServer()];
    await Promise.all(servers.map(server => new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve); })));
    return new HubServer(servers[0], servers[1]);
  }

  async close(): Promise<void> {
    for (const server of [this.hub, this.cdn]) {
      server.closeAllConnections();
      await new Promise(resolve => { server.close(resolve); });
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.hub.address() as AddressInfo).port}`;
  }

  /** Makes a commit of these files the newest of each of `refs`, and gives its name. */
  push(id: string, files: Files, { refs = ['main'], access = 'public' }: { refs?: string[]; access?: Model['access'] } = {}): string {
    const model = this.models.get(id) ?? { commits: new Map(), refs: new Map(), access };
    const entries = Object.entries(files).map(([path, content]) => {
      const bytes = Buffer.from(content);
      const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
      return [path, { bytes, oid, sha256: /\.(safetensors|bin)$/.test(path) ? createHash('sha256').update(bytes).digest('hex') : undefined }] as const;
    });
    const sha = createHash('sha1').update(JSON.stringify(entries.map(([path, { oid }]) => [path, oid]))).digest('hex');
    model.commits.set(sha, { sha, files: new Map(entries) });
    for (const ref of refs) model.refs.set(ref, sha);
    this.models.set(id, model);
    return sha;
  }

  /** Paths of the files whose bytes were asked for, in order. */
  get fetched(): string[] {
    const files = this.requests.filter(({ method, host, path }) => method === 'GET' && host === 'hub' && path.includes('/resolve/'));
    return files.map(({ path }) => path.replace(/^.*\/resolve\/[^/]+\//, ''));
  }

  /** How many bytes of a file the client has kept on disk. */
  kept: () => number = () => Infinity;

  /** The bytes that a request is for, from where its range begins. Ends the connection without warning when the client has kept `stopAfter` of them. */
  send(response: ServerResponse, bytes: Buffer, range?: string, stopAfter = Infinity): void {
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    response.statusCode = range ? 206 : 200;
    if (range) response.setHeader('Content-Range', `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
    response.setHeader('Content-Length', bytes.length - from);
    const body = bytes.subarray(from);
    if (body.length <= stopAfter) response.end(body);
    else response.write(body.subarray(0, stopAfter), () => void until(() => this.kept() >= from + stopAfter, 'it is kept', 5000).catch(() => undefined).then(() => response.destroy()));
  }

  private answer(host: 'hub' | 'cdn', message: IncomingMessage, response: ServerResponse): void {
    const url = new URL(message.url!, this.endpoint);
    const request: HubRequest = {
      method: message.method!, path: decodeURIComponent(url.pathname), host,
      authorization: message.headers.authorization, range: message.headers.range,
    };
    this.requests.push(request);
    if (this.intercept?.(request, response, message)) return;
    if (host === 'cdn') return this.sendFromCdn(request, response);

    const [, id, what, name = '', path] = /^(?:\/api\/models)?\/([^/]+\/[^/]+)(?:\/(revision|tree|resolve)\/([^/]+)(?:\/(.*))?)?$/.exec(url.pathname) ?? [];
    const model = this.models.get(id);
    const allowed = request.authorization === `Bearer ${TOKEN}`;
    if (request.authorization && !allowed) return refuse(response, 401, '', 'Invalid credentials in Authorization header');
    if (!model || (model.access === 'private' && !allowed)) return refuse(response, allowed ? 404 : 401, 'RepoNotFound');
    const revision = what ? decodeURIComponent(name) : 'main';
    const commit = model.commits.get(model.refs.get(revision) ?? revision);
    if (!commit) return refuse(response, 404, 'RevisionNotFound');
    if (what === 'resolve' && model.access === 'gated' && !allowed) return refuse(response, 401, 'GatedRepo');
    if (!what || what === 'revision') {
      const siblings = [...commit.files.keys()].map(rfilename => ({ rfilename }));
      return sendJson(response, { _id: '1', id, modelId: id, sha: commit.sha, private: false, gated: false, tags: [], siblings });
    }
    if (what === 'tree') return this.sendTree(url, commit, response);
    const file = commit.files.get(decodeURIComponent(path));
    response.setHeader('X-Repo-Commit', commit.sha);
    if (!file) return refuse(response, 404, 'EntryNotFound');
    response.setHeader('ETag', `"${file.sha256 ?? file.oid}"`);
    if (file.sha256) {
      response.writeHead(302, {
        'X-Linked-Etag': `"${file.sha256}"`, 'X-Linked-Size': file.bytes.length, 'Content-Length': 0,
        Location: `http://localhost:${(this.cdn.address() as AddressInfo).port}/${id}/${commit.sha}/${path}`,
      }).end();
    } else if (request.method === 'HEAD') {
      response.setHeader('Content-Length', file.bytes.length).end();
    } else {
      this.send(response, file.bytes, request.range);
    }
  }

  private sendFromCdn({ path, range }: HubRequest, response: ServerResponse): void {
    const [, id, sha, name] = /^\/([^/]+\/[^/]+)\/([0-9a-f]{40})\/(.*)$/.exec(path)!;
    this.send(response, this.models.get(id)!.commits.get(sha)!.files.get(name)!.bytes, range);
  }

  private sendTree(url: URL, commit: Commit, response: ServerResponse): void {
    const folders = new Set([...commit.files.keys()].filter(path => path.includes('/')).map(path => path.replace(/\/[^/]*$/, '')));
    const entries: object[] = [...folders].map(path => ({ type: 'directory', oid: '0'.repeat(40), size: 0, path }));
    for (const [path, { bytes, oid, sha256 }] of commit.files) {
      entries.push({ type: 'file', path, oid, size: bytes.length, ...(sha256 && { lfs: { oid: sha256, size: bytes.length, pointerSize: 130 } }) });
    }
    const from = Number(url.searchParams.get('cursor') ?? 0);
    if (from + this.pageSize < entries.length) {
      url.searchParams.set('cursor', String(from + this.pageSize));
      response.setHeader('Link', `<${url}>; rel="next"`);
    }
    sendJson(response, entries.slice(from, from + this.pageSize));
  }
}

export function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('Content-Type', 'application/json').end(JSON.stringify(value));
}

export function refuse(response: ServerResponse, status: number, code = '', message = code): void {
  response.writeHead(status, { ...(code && { 'X-Error-Code': code }), 'X-Error-Message': message, 'Content-Length': 0 }).end();
}
