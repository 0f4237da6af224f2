import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { buildFolder, cacheFolder, stagePrefix } from '../build_folder.js';

/** Another project may have another version of this package, and use its build: one that was loaded within so many days stays. */
const DAYS = 30;

/** The names that builds for this machine have and had: at first without a version, then without what names the addons' sources. */
const NAME = new RegExp(`^tensorflow-[\\d.]+-tfjs-[\\d.]+-${process.platform}-${process.arch}-(?:cpu|gpu)(?:-\\d+(?:-[\\da-f]{8})?)?$`);

/** Removes builds of other versions of this package which nobody loaded for long, and says so. Whatever else lies in the cache stays. */
export async function removeOldBuilds(onProgress: (line: string) => void): Promise<void> {
  const ours = [buildFolder('cpu'), buildFolder('gpu')].map(folder => basename(folder));
  for (const name of await readdir(cacheFolder())) {
    const folder = join(cacheFolder(), name);
    if (!NAME.test(name) || ours.includes(name) || await daysSinceUse(folder) < DAYS) continue;
    const gigabytes = (await sizeOf(folder) / 1e9).toFixed(1);
    onProgress(`removing ${folder}, a build of another version that was not used for ${DAYS} days: ${gigabytes} GB`);
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
