import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { CUDA_FOLDER, cudaName, cudaPlace, OPENED, TOOLS } from './cuda_libraries.js';
import { binaryTrouble } from './elf.js';
import { driverTrouble, type Gpu } from './nvidia.js';

const DRIVER = 'libcuda.so.1'; // comes with the GPU's driver, not with a build

/**
 * Which library of a GPU build cannot be opened, and why; null if all can. Opens those that TensorFlow opens before it takes a GPU, by the
 * same names and in the same folders, and what lies beside them. No GPU is needed, nor its driver.
 * @param onOpen gets the name of each library before it is opened: a damaged one can end the process.
 */
export function unusableLibrary(folder: string, onOpen?: (name: string) => void): string | null {
  const openLibrary = opener(folder);
  if (!openLibrary) return 'the build is older than this version of the package';
  const cuda = join(folder, CUDA_FOLDER);
  const files = existsSync(cuda) ? readdirSync(cuda).filter(name => cudaName(name) !== null) : [];
  for (const name of files) {
    if (!existsSync(join(cuda, name))) return `${name} is gone from ${readlinkSync(join(cuda, name))}`;
    const trouble = binaryTrouble(join(cuda, name));
    if (trouble !== null) return `${name} ${trouble}`;
  }
  const tool = TOOLS.find(tool => !existsSync(join(folder, cudaPlace(tool))));
  if (tool) return `XLA finds no ${tool}`;
  for (const name of new Set([...OPENED, ...files])) {
    onOpen?.(name);
    const reason = openLibrary(OPENED.includes(name) ? name : join(cuda, name));
    if (reason !== null && !reason.startsWith(`${DRIVER}:`)) return cannotOpen(name, reason);
  }
  return null;
}

function cannotOpen(name: string, reason: string): string {
  return `TensorFlow cannot open ${name}${reason.startsWith(`${name}:`) ? reason.slice(name.length) : ` (${reason})`}`;
}

/** Why TensorFlow, which runs in this process, has taken none of `gpus`. */
export function whyNoGpu(folder: string, gpus: readonly Gpu[]): string {
  const library = unusableLibrary(folder);
  if (library !== null) return `${library}; run \`npx tfjs-diffusers setup --gpu\` to build it anew`;
  const reason = opener(folder)!(DRIVER);
  if (reason !== null) return `${cannotOpen(DRIVER, reason)}; it comes with the driver of the GPU`;
  const driver = driverTrouble(gpus, existsSync(join(folder, CUDA_FOLDER, 'libcublas.so.13')) ? 13 : 12);
  if (driver !== null) return driver;
  const visible = process.env.CUDA_VISIBLE_DEVICES;
  return `TensorFlow finds no GPU that it can use${visible === undefined ? '' : `; CUDA_VISIBLE_DEVICES is '${visible}'`}`;
}

function opener(folder: string): ((name: string) => string | null) | undefined {
  return (createRequire(join(folder, 'build.cjs'))('./lib/quiet.node') as { openLibrary?: (name: string) => string | null }).openLibrary;
}
