import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BUILD_VERSION, cacheFolder, stagePrefix } from '../build_folder.js';

/** Another project may have an earlier version of this package, and use its build: one that was loaded within so many days stays. */
const DAYS = 30;

/** The names that builds for this machine have and had: before there were versions, without one. */
const NAME = new RegExp(`^tensorflow-[\\d.]+-tfjs-[\\d.]+-${process.platform}-${process.arch}-(?:cpu|gpu)(?:-(\\d+))?$`);

/** Removes builds of earlier versions of this package which nobody loaded for long, and says so. Whatever else lies in the cache stays. */
export async function removeOldBuilds(onProgress: (line: string) => void): Promise<void> {
  for (const name of await readdir(cacheFolder())) {
    const [known, version = '0'] = NAME.exec(name) ?? [];
    const folder = join(cacheFolder(), name);
    if (!known || Number(version) >= BUILD_VERSION || await daysSinceUse(folder) < DAYS) continue;
    const gigabytes = (await sizeOf(folder) / 1e9).toFixed(1);
    onProgress(`removing ${folder}, a build of an earlier version that was not used for ${DAYS} days: ${gigabytes} GB`);
    const going = join(cacheFolder(), `${stagePrefix()}${process.pid}-${name}`); // one that is removed half looks whole under its name
    await rename(folder, going).then(() => rm(going, { recursive: true, force: true }), () => {}); // another process may have been first
  }
}

/** Each load reads the sizes of its libraries. */
async function daysSinceUse(folder: string): Promise<number> {
  const { atimeMs, mtimeMs } = await stat(join(folder, 'sizes.json')).catch(() => stat(folder));
  return (Date.now() - Math.max(atimeMs, mtimeMs)) / 86_400_000;
}

async function sizeOf(folder: string): Promise<number> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter(entry => entry.isFile());
  const sizes = await Promise.all(files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
