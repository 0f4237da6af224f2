import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/** Writes a file below the folder that is being made. */
export type WriteFile = (path: string, content: string | Uint8Array | AsyncIterable<Uint8Array>) => Promise<void>;

/**
 * Makes the folder `out` with what `work` writes, all or nothing: it is written beside and renamed when all of it is on the disk.
 * @param work also gets the place of the unfinished folder.
 * @throws Error if `out` exists and is not empty, or cannot be written.
 */
export async function makeFolder(out: string, work: (write: WriteFile, folder: string) => Promise<void>): Promise<void> {
  const there = await readdir(out).catch((error: NodeJS.ErrnoException) => error.code === 'ENOENT' ? [] : [error]);
  if (there.length > 0) throw new Error(`${out}: exists already; name a folder that is new or empty`);
  const part = `${resolve(out)}.${randomBytes(4).toString('hex')}.part`;
  const write: WriteFile = async (path, content) => {
    await mkdir(dirname(join(part, path)), { recursive: true });
    const file = await open(join(part, path), 'wx');
    try {
      await writeFile(file, content);
      await file.sync();
    } finally {
      await file.close();
    }
  };
  try {
    await mkdir(part, { recursive: true });
    await work(write, part);
    await rename(part, out);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    throw code ? new Error(`${out}: cannot be written: ${message.replace(`${part}`, out)}`, { cause: error }) : error;
  }
}
