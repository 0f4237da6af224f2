import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cudaPlace } from '../cuda/cuda_libraries.js';

/** Puts CUDA's files, path by name, where a build in `folder` keeps them: `put` moves one there, or links to it. */
export async function placeCuda(
  files: ReadonlyMap<string, string>, folder: string, put: (from: string, to: string) => Promise<void>,
): Promise<void> {
  for (const [name, path] of files) {
    const place = join(folder, cudaPlace(name));
    await mkdir(dirname(place), { recursive: true });
    await put(path, place);
  }
}
