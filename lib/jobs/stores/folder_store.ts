import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StoreFullError } from '../errors.js';
import { checkStoreName, isJobId, isOver } from './picture_names.js';
import { KEEP_SECONDS, sweepRegularly, type PictureStore } from './picture_store.js';

/** Pictures in a folder, which several machines may share. Nothing else in it is touched. */
export class FolderStore implements PictureStore {
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly folder: string, private readonly seconds = KEEP_SECONDS) {
    this.timer = sweepRegularly(() => this.sweep(), seconds);
  }

  /** Under another name until it is on the disk: a file that looks whole is whole, however a process ended. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const path = this.pathOf(name);
    const unfinished = `${path}.${randomUUID()}.part`;
    await mkdir(dirname(path), { recursive: true });
    try {
      const file = await open(unfinished, 'wx');
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(unfinished, path);
    } catch (error) {
      await rm(unfinished, { force: true });
      await rmdir(dirname(path)).catch(() => {}); // unless there is more in it
      throw ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code!) ? new StoreFullError() : error;
    }
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    return readFile(this.pathOf(name)).catch(ifThere);
  }

  async remove(name: string): Promise<void> {
    const path = this.pathOf(name);
    await rm(path, { force: true });
    await rmdir(dirname(path)).catch(() => {}); // unless there is more in it
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
  }

  /** Removes what is over, and what a process that ended left unfinished. */
  async sweep(): Promise<void> {
    for (const above of ['', 'waiting/']) {
      for (const id of await readdir(join(this.folder, above)).catch(ifThere) ?? []) {
        const folder = join(this.folder, above, id);
        const files = await readdir(folder).catch(ifThere);
        for (const file of files ?? []) await this.removeOld(`${above}${id}/${file}`);
        const isLeft = files?.length === 0 && isJobId(id) && await this.isOld(folder); // by a process that ended
        if (isLeft) await rmdir(folder).catch(() => {});
      }
    }
  }

  private async isOld(folder: string): Promise<boolean> {
    const { mtimeMs = Infinity } = await stat(folder).catch(ifThere) ?? {};
    return mtimeMs + this.seconds * 1000 < Date.now();
  }

  private async removeOld(name: string): Promise<void> {
    const { mtimeMs } = await stat(join(this.folder, name)).catch(ifThere) ?? {};
    if (mtimeMs !== undefined && isOver(name, mtimeMs, this.seconds)) await this.remove(name);
  }

  private pathOf(name: string): string {
    return join(this.folder, checkStoreName(name));
  }
}

/** Undefined for what is not there, or no folder. */
function ifThere(error: NodeJS.ErrnoException): undefined {
  if (!['ENOENT', 'ENOTDIR'].includes(error.code!)) throw error;
}
