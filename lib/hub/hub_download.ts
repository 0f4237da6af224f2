import { createHash, randomBytes, type Hash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { sizeOf } from './hub_cache.js';
import type { HubClient, HubFile } from './hub_client.js';
import { HubError } from './hub_error.js';

/** Which file of which model a blob is, for the hub and for messages. */
export interface HubPath {
  id: string;
  commit: string;
  path: string;
}

const retries = 5;
const host = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
const idleMs = 600_000; // no download is silent for longer, pauses included

/**
 * A file on its way into the cache: `<blob>.<host>-<process>-<random>.incomplete`, and nobody else's, until every byte is there, is right
 * and is on the disk. Only then does it get the blob's name. What a process leaves behind when it ends early, the next one continues.
 */
export class Download {
  /** The most bytes that were ever there: only more are progress. */
  private furthest = 0;

  private constructor(
    private readonly blob: string, private readonly file: HubFile, private readonly part: string, private readonly handle: FileHandle,
    /** Bytes that are there. */
    private offset: number, private hash: Hash,
  ) {}

  /** Continues what is left of an earlier download, or begins one. */
  static async open(blob: string, file: HubFile): Promise<Download> {
    await mkdir(dirname(blob), { recursive: true });
    const part = partName(blob, process.pid);
    const handle = await adopt(blob, part) ?? await open(part, 'wx+');
    const download = new Download(blob, file, part, handle, (await handle.stat()).size, startHash(file));
    if (download.offset > file.size) await download.restart();
    return download;
  }

  /** Bytes that are still to come. */
  get missing(): number {
    return this.file.size - this.offset;
  }

  /**
   * Fetches what is missing, and makes the blob. The download is then over, as it is after an error.
   * @param onBytes is told how many bytes came; a negative number takes back what turned out useless.
   * @throws HubError if the hub does not give what it promised, an error of the file system, the signal's reason.
   */
  async run(client: HubClient, source: HubPath, onBytes: (count: number) => void, signal?: AbortSignal): Promise<void> {
    await this.hashPrefix(signal);
    for (let round = 1; ; round++) {
      await client.retry(() => this.transfer(client, source, onBytes, signal), { retries, progress: () => this.furthest, signal });
      if (this.hash.digest('hex') === this.file.etag) break;
      onBytes(-await this.restart());
      if (round === 2) throw new HubError(`${source.id}/${source.path}: twice came other bytes than the hub lists; try again later`);
    }
    await this.handle.sync();
    await this.handle.close();
    await rename(this.part, this.blob).catch(async error => {
      // Another process may have made it: Windows replaces no file that is being read.
      if (await sizeOf(this.blob) !== this.file.size) throw error;
      await rm(this.part);
    });
    for (const part of await abandonedParts(this.blob)) await rm(part, { force: true });
  }

  /** Leaves what is there to whoever continues. Does nothing once the blob is made. */
  async leave(): Promise<void> {
    await this.handle.close().catch(() => undefined);
    if (this.offset === 0) await rm(this.part, { force: true });
    else await rename(this.part, partName(this.blob, 0)).catch(() => undefined);
  }

  /** One request for the bytes that are missing. */
  private async transfer(
    client: HubClient, { id, commit, path }: HubPath, onBytes: (count: number) => void, signal?: AbortSignal,
  ): Promise<void> {
    const from = this.offset;
    if (from === this.file.size) return;
    const headers = { 'Accept-Encoding': 'identity', ...(from > 0 && { Range: `bytes=${from}-` }) };
    const receive = async (response: Response, body: AsyncIterable<Uint8Array>) => {
      const sendsAll = !response.headers.get('Content-Range')?.startsWith(`bytes ${from}-`);
      if (from > 0 && sendsAll) onBytes(-await this.restart());
      for await (const chunk of body) {
        if (chunk.length > this.missing) {
          throw new HubError(`${id}/${path}: is longer than the ${this.file.size} bytes that the hub lists; try again later`);
        }
        await this.append(chunk);
        onBytes(chunk.length);
      }
    };
    await client.get(id, client.fileUrl(id, commit, path), { headers, missing: `file ${path}`, signal, receive }).catch(async error => {
      if (error instanceof HubError && error.status === 416) onBytes(-await this.restart()); // it has no such range
      throw error;
    });
    if (this.missing > 0) {
      throw new HubError(`${id}/${path}: broke off at byte ${this.offset} of ${this.file.size}; try again later`, { transient: true });
    }
  }

  /** What an earlier download left counts as much as what will come. */
  private async hashPrefix(signal?: AbortSignal): Promise<void> {
    if (this.offset === 0) return;
    for await (const chunk of this.handle.createReadStream({ start: 0, end: this.offset - 1, autoClose: false })) {
      signal?.throwIfAborted();
      this.hash.update(chunk);
    }
  }

  private async append(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length;) {
      done += (await this.handle.write(chunk, done, chunk.length - done, this.offset + done)).bytesWritten;
    }
    this.hash.update(chunk);
    this.offset += chunk.length;
    this.furthest = Math.max(this.furthest, this.offset);
  }

  /** Gives up what is there, and says how much that was. */
  private async restart(): Promise<number> {
    const useless = this.offset;
    await this.handle.truncate(0);
    this.offset = 0;
    this.hash = startHash(this.file);
    return useless;
  }
}

/** An etag of 64 digits is the content's sha256, one of 40 is git's sha1, which begins with a header. */
function startHash({ size, etag }: HubFile): Hash {
  return etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** @param owner the process that writes to it; 0 for none. */
function partName(blob: string, owner: number): string {
  return `${blob}.${host}-${owner}-${randomBytes(4).toString('hex')}.incomplete`;
}

/** The parts of a blob that nobody writes to any more, the longest first. */
async function abandonedParts(blob: string): Promise<string[]> {
  const parts = [];
  for (const file of await readdir(dirname(blob))) {
    if (!file.startsWith(`${basename(blob)}.`) || !file.endsWith('.incomplete')) continue;
    const path = join(dirname(blob), file);
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() && (!hasOwner(file) || Date.now() - found.mtimeMs > idleMs)) parts.push({ path, size: found.size });
  }
  return parts.sort((a, b) => b.size - a.size).map(({ path }) => path);
}

/** Takes over the longest of the abandoned parts, as `name`. */
async function adopt(blob: string, name: string): Promise<FileHandle | undefined> {
  for (const path of await abandonedParts(blob)) {
    const taken = await rename(path, name).then(() => true, () => false); // another process may be faster
    if (taken) return open(name, 'r+');
  }
  return undefined;
}

/** Whether a living process may be writing to a part. Those of other machines and programs may be at work: nobody here can tell. */
function hasOwner(file: string): boolean {
  const [, where, owner] = /\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.incomplete$/.exec(file) ?? [];
  if (owner === '0') return false;
  if (where !== host) return true;
  try {
    process.kill(Number(owner), 0); // sends nothing
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
