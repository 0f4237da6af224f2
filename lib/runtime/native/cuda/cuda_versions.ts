import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runTool } from '../../../core/run_tool.js';
import { CUDA_FOLDER, OPENED } from './cuda_libraries.js';

const FILE = 'cuda.json';

/** Calls what a library has to tell its version; none of these functions needs a driver. */
const VERSIONS = `import ctypes, json, sys
def ask(function, *arguments):
    number = ctypes.c_int()
    if function(*arguments, ctypes.byref(number)) != 0:
        raise OSError("a library does not tell its version")
    return number.value
def version(name, library):
    if name == "cudart":
        number = ask(library.cudaRuntimeGetVersion)
        return f"{number // 1000}.{number % 1000 // 10}"
    return ".".join(str(ask(library[name + "GetProperty"], part)) for part in range(3))
print(json.dumps({name: version(name, ctypes.CDLL(path)) for name, path in json.loads(sys.argv[1]).items()}))`;

/** Versions of CUDA's libraries by name, as in `cublas` and `cudart`, each by its path. */
export async function libraryVersions<Name extends string>(
  python: string, paths: Readonly<Record<Name, string>>,
): Promise<Record<Name, string>> {
  return JSON.parse(await runTool(python, ['-c', VERSIONS, JSON.stringify(paths)])) as Record<Name, string>;
}

/** Keeps the versions of a build's libraries in it. */
export async function writeCudaVersions(python: string, folder: string): Promise<void> {
  const paths = OPENED.filter(name => name !== 'libcublasLt.so.12') // a part of cuBLAS
    .map(name => [/^lib([a-z]+)/.exec(name)![1], join(folder, CUDA_FOLDER, name)]);
  await writeFile(join(folder, FILE), JSON.stringify(await libraryVersions(python, Object.fromEntries(paths))));
}

/** Versions of the libraries in a build by name; none if it does not tell. */
export function readCudaVersions(folder: string): Record<string, string> {
  try {
    return JSON.parse(readFileSync(join(folder, FILE), 'utf8')) as Record<string, string>;
  } catch {
    return {};
  }
}
