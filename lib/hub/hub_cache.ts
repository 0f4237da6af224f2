import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { checkRelativePath } from '../files/model_folder.js';
import type { HubFile } from './hub_client.js';
import { isCommit } from './hub_id.js';

/**
 * A model's place in the cache that Python's huggingface_hub shares:
 *
 *     models--owner--name/blobs/<etag>                   contents, by hash
 *     models--owner--name/snapshots/<commit>/<path>      relative links to them
 *     models--owner--name/refs/<revision>                the commit that a branch or tag was last seen at
 */
export class HubCache {
  private readonly folder: string;

  constructor(root: string, id: string) {
    this.folder = join(root, `models--${id.replace('/', '--')}`);
  }

  /** Where contents lie, which may not be there yet. */
  blob({ etag }: HubFile): string {
    return join(this.folder, 'blobs', etag);
  }

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  /** The commit that `revision` was last seen at, if any of its files are here. */
  async commitOf(revision: string): Promise<string | undefined> {
    const commit = isCommit(revision) ? revision : (await readFile(this.ref(revision), 'utf8').catch(() => '')).trim();
    return isCommit(commit) && (await stat(this.snapshot(commit)).catch(() => undefined))?.isDirectory() ? commit : undefined;
  }

  /** Remembers what a branch or tag is at. A cache that cannot be written serves without. */
  async setCommitOf(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || await this.commitOf(revision) === commit) return;
    const ref = this.ref(revision);
    const part = `${ref}.${randomBytes(4).toString('hex')}.tmp`;
    try {
      await mkdir(dirname(ref), { recursive: true });
      await writeFile(part, commit);
      await rename(part, ref);
    } catch {
      await rm(part, { force: true }).catch(() => undefined);
    }
  }

  /** Whether the snapshot has the file, as long as it should be. */
  async has(commit: string, path: string, { size }: HubFile): Promise<boolean> {
    return await sizeOf(join(this.snapshot(commit), checkRelativePath(path))) === size;
  }

  /** Puts a blob that is here into the snapshot. */
  async link(commit: string, path: string, file: HubFile): Promise<void> {
    const [blob, target] = [this.blob(file), join(this.snapshot(commit), checkRelativePath(path))];
    const part = join(this.folder, `${randomBytes(4).toString('hex')}.tmp`);
    await mkdir(dirname(target), { recursive: true });
    try {
      // Windows lets only some users make symbolic links
      await symlink(relative(dirname(target), blob), part).catch(() => link(blob, part));
      await rename(part, target); // another process may read what it replaces
    } finally {
      await rm(part, { force: true });
    }
  }

  private ref(revision: string): string {
    return join(this.folder, 'refs', checkRelativePath(revision));
  }
}

/** Bytes of the file at `path`, through links; undefined if there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}
