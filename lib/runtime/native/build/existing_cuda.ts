import { existsSync, realpathSync } from 'node:fs';
import { cacheFolder } from '../build_folder.js';
import { libraryVersions } from '../cuda/cuda_versions.js';
import { findCuda } from './find_cuda.js';
import { pythonCudaFolders } from './python_environment.js';
import { SetupError } from './setup_error.js';

/** The cuDNN that TensorFlow was built with. It refuses an older one when it computes, and takes newer ones of the same major version. */
const CUDNN = { major: 9, minor: 3 };

export interface CudaSources {
  /** Folders with libraries of CUDA 12 or 13, or cuDNN, in them or in folders within. */
  cudaLibraries?: string | readonly string[];
  /** A Python whose environment has them, as PyTorch brings them. */
  python?: string;
}

/**
 * What of CUDA is there already: path by name.
 * @param tool a Python that can be called.
 * @throws SetupError if there is nothing where it is said to be.
 */
export async function existingCuda(
  { cudaLibraries = [], python }: CudaSources, tool: string, onProgress: (line: string) => void,
): Promise<Map<string, string>> {
  const given = [cudaLibraries].flat();
  const gone = given.find(folder => !existsSync(folder));
  if (gone !== undefined) throw new SetupError(`cuda-libraries: there is no ${gone}`);
  const own = given.find(folder => isWithin(folder, cacheFolder()));
  if (own !== undefined) throw new SetupError(`cuda-libraries: ${own} belongs to a build, which goes when another takes its place`);
  const folders = [...given, ...python === undefined ? [] : await pythonCudaFolders(python)];
  const found = await findCuda(folders);
  const places = [...given, ...python === undefined ? [] : [`the environment of ${python}`]];
  if (places.length > 0 && found.size === 0) throw new SetupError(`no library of CUDA 12 or 13 in ${places.join(', ')}`);
  const cudnn = found.get('libcudnn.so.9');
  if (cudnn !== undefined) {
    const trouble = await cudnnTrouble(cudnn, tool);
    if (trouble !== null) {
      onProgress(`${cudnn} ${trouble}: another one is downloaded`);
      found.delete('libcudnn.so.9');
    }
  }
  return found;
}

function isWithin(path: string, folder: string): boolean {
  return existsSync(folder) && `${realpathSync(path)}/`.startsWith(`${realpathSync(folder)}/`);
}

async function cudnnTrouble(path: string, tool: string): Promise<string | null> {
  try {
    const { cudnn } = await libraryVersions(tool, { cudnn: path });
    const [major, minor] = cudnn.split('.').map(Number);
    if (major === CUDNN.major && minor >= CUDNN.minor) return null;
    return `is version ${cudnn}, TensorFlow takes ${CUDNN.major}.${CUDNN.minor} or newer`;
  } catch {
    return 'cannot be loaded';
  }
}
