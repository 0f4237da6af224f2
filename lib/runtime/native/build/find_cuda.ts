import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { cudaName } from '../cuda/cuda_libraries.js';
import { binaryTrouble } from '../cuda/elf.js';

const DEPTH = 16; // of folders in folders; links between them are not followed

/**
 * Finds CUDA's libraries and tools in folders and the folders within, for this machine's processor: path by name. Of several of a name it
 * takes the one beside cuBLAS, which is the newest of the first folder that has one.
 */
export async function findCuda(folders: readonly string[]): Promise<Map<string, string>> {
  const candidates = new Map<string, string[]>();
  for (const folder of folders) {
    for await (const path of filesOf(resolve(folder), DEPTH)) {
      const name = cudaName(path);
      if (name !== null && isUsable(path)) candidates.set(name, [...candidates.get(name) ?? [], path]);
    }
  }
  const [cublas] = candidates.get('libcublas.so.12') ?? candidates.get('libcublas.so.13') ?? [];
  const home = cublas && dirname(cublas);
  return new Map([...candidates].map(([name, paths]) => [name, paths.find(path => dirname(path) === home) ?? paths[0]]));
}

/** Newest first, where names are versions. What cannot be read is passed over, and so are libraries for linking only. */
async function* filesOf(folder: string, depth: number): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries.sort((a, b) => b.name.localeCompare(a.name, 'en', { numeric: true }))) {
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) yield path;
    else if (depth > 0 && entry.name !== 'stubs') yield* filesOf(path, depth - 1);
  }
}

/** A toolkit may bring libraries for other processors, and links may lead nowhere. */
function isUsable(path: string): boolean {
  try {
    return path.endsWith('.bc') ? existsSync(path) : binaryTrouble(path) === null;
  } catch {
    return false;
  }
}
