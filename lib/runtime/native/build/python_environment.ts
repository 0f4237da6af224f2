import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from '../../../core/run_tool.js';
import { SetupError } from './setup_error.js';

const FOLDERS = 'import sys; print(sys.prefix, *filter(None, sys.path), sep="\\n")';

/** Folders of a Python environment that may hold CUDA libraries and tools: as NVIDIA's packages, Triton or conda put them there. */
export async function pythonCudaFolders(python: string): Promise<string[]> {
  const text = await runTool(python, ['-c', FOLDERS]).catch(error => {
    throw new SetupError(`python: ${(error as Error).message}`, { cause: error });
  });
  const [prefix, ...path] = text.trim().split('\n');
  const folders = path.flatMap(folder => [join(folder, 'nvidia'), join(folder, 'triton', 'backends', 'nvidia')]);
  if (existsSync(join(prefix, 'conda-meta'))) folders.push(...['lib', 'bin', 'nvvm'].map(folder => join(prefix, folder)));
  return folders.filter(folder => existsSync(folder));
}
