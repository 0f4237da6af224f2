import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { show } from '../core/checks.js';
import { formatBytes } from '../core/format.js';
import { toJsonText } from '../core/json.js';
import { FILE_LISTING } from './file_listing.js';

/** Writes a file below the folder that is being made. */
export type WriteFile = (path: string, content: string | Uint8Array | AsyncIterable<Uint8Array>) => Promise<void>;

/** The path of a folder that is to be made. @throws TypeError for what is none. @param name what the error calls it. */
export function newFolderPath(name: string, folder: string | URL): string {
  const path = folder instanceof URL ? fileURLToPath(folder) : folder;
  if (typeof path !== 'string' || path === '') throw new TypeError(`${name}: got ${show(path)}, takes the path of a new folder`);
  return path;
}

/**
 * Makes the folder `out` with what `work` writes and a listing of that, all or nothing: it is written beside and renamed when all of it is
 * on the disk.
 * @param bytes how much is to be written, about.
 * @param work also gets the place of the unfinished folder, `<out>.<random>.part`. A killed process leaves it, for the user to delete.
 * @throws Error if `out` exists and is not empty, or cannot be written.
 */
export async function makeFolder(out: string, bytes: number, work: (write: WriteFile, folder: string) => Promise<void>): Promise<void> {
  const there = await readdir(out).catch(() => existsSync(out) ? [out] : []);
  if (there.length > 0) throw new Error(`${out}: exists already; name a folder that is new or empty`);
  const part = `${resolve(out)}.${randomBytes(4).toString('hex')}.part`;
  const write: WriteFile = async (path, content) => {
    await makeFolders(dirname(join(part, path)));
    const file = await open(join(part, path), 'wx');
    try {
      await writeFile(file, content);
      await file.sync();
    } finally {
      await file.close();
    }
  };
  try {
    await makeFolders(part);
    const { bavail, bsize } = await statfs(part);
    if (bytes > bavail * bsize) throw noSpace(out, `it takes ${formatBytes(bytes)}, ${formatBytes(bavail * bsize)} are free`);
    await work(write, part);
    await write(FILE_LISTING, toJsonText(await fileSizes(part)));
    await rename(part, out);
  } catch (error) {
    await rm(part, { recursive: true, force: true }).catch(() => undefined);
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (!syscall || syscall === 'read') throw error; // not of writing
    if (['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code!)) throw noSpace(out, 'no space is left', error);
    throw new Error(`${out}: cannot be written: ${message.replace(part, out)}`, { cause: error });
  }
}

/** Bytes of all files below a folder, by their paths in it with forward slashes, in order. */
async function fileSizes(folder: string): Promise<Record<string, number>> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter(entry => entry.isFile());
  const paths = files.map(({ parentPath, name }) => relative(folder, join(parentPath, name)).split(sep).join('/')).sort();
  return Object.fromEntries(await Promise.all(paths.map(async path => [path, (await stat(join(folder, path))).size] as const)));
}

function noSpace(out: string, why: string, cause?: unknown): Error {
  return new Error(`${out}: does not fit on the disk: ${why}; make room, or name a folder elsewhere`, { cause });
}

/** A folder and those above it. Node's own `recursive` never returns where none can be made, as in /proc. */
async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolders(dirname(path));
    await mkdir(path);
  }
}
