import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buildFolder, cacheFolder, stagePrefix, type NativeKind } from '../build_folder.js';
import { writeCudaVersions } from '../cuda/cuda_versions.js';
import { driverTrouble, nvidiaGpus } from '../cuda/nvidia.js';
import { compileBinding } from './compile_binding.js';
import { planCuda } from './cuda_plan.js';
import { downloadBinding, downloadCuda, downloadTensorflow, TENSORFLOW_SIZE } from './download.js';
import { existingCuda, type CudaSources } from './existing_cuda.js';
import { removeOldBuilds } from './old_builds.js';
import { checkRequirements, checkRoom } from './requirements.js';
import { explain, SetupError } from './setup_error.js';
import { verifyBuild } from './verify.js';

/** `cudaLibraries` and `python` name what a GPU build takes instead of downloading it, by links. What is missing there is downloaded. */
export interface SetupOptions extends CudaSources {
  /** By default `gpu` where nvidia-smi names a GPU, or CUDA libraries are given. */
  kind?: NativeKind;
  /** Gets one line per step. */
  onProgress?: (line: string) => void;
}

export interface SetupResult {
  readonly kind: NativeKind;
  readonly folder: string;
  /** False if a working build was there already. */
  readonly built: boolean;
  /** Whether TensorFlow finds a GPU that it can use. */
  readonly gpu: boolean;
  /** Why a GPU build runs on the CPU here. */
  readonly noGpu?: string;
}

/**
 * Builds the native backend, or checks that the one built earlier works and builds it anew if not.
 *
 * Needs Linux with glibc, Python with pip, a C++ compiler and the package registries. A build becomes visible by one rename, when it
 * has passed its check: several processes may do this at once, and one that is killed leaves nothing that looks complete.
 * @throws SetupError saying in one line what is missing and what to do.
 */
export async function setupNative({ kind, onProgress = () => {}, ...sources }: SetupOptions = {}): Promise<SetupResult> {
  const given = sources.cudaLibraries !== undefined || sources.python !== undefined;
  if (given && kind === 'cpu') throw new SetupError('got CUDA libraries for a cpu build, which has no use for them; takes them for gpu');
  const wanted = kind ?? (given || (await nvidiaGpus()).length > 0 ? 'gpu' : 'cpu');
  const folder = buildFolder(wanted);
  const damaged = existsSync(folder); // unless it passes its check
  if (damaged) {
    try {
      const verdict = await verifyBuild(folder, wanted);
      await removeOldBuilds(onProgress);
      return { kind: wanted, folder, built: false, ...verdict };
    } catch (error) {
      onProgress(`${folder} does not work (${(error as Error).message}); building it anew`);
    }
  }
  try {
    const { python, compiler } = await checkRequirements(wanted);
    const cuda = wanted === 'gpu' ? planCuda(await existingCuda(sources, python, onProgress)) : null;
    const driver = cuda?.version === 13 ? driverTrouble(await nvidiaGpus(), 13) : null; // CUDA 13 is taken only where it is given
    if (driver) throw new SetupError(`${driver}; update it, or let setup download CUDA 12`);
    const [download, disk] = TENSORFLOW_SIZE[wanted].map((bytes, i) => bytes + (cuda?.size[i] ?? 0));
    await checkRoom(download, disk, onProgress);
    const stage = await makeStage();
    try {
      const fresh = join(stage, 'build');
      await downloadBinding(python, stage, fresh);
      await downloadTensorflow(wanted, python, stage, fresh, onProgress);
      if (cuda) await downloadCuda(cuda, python, stage, fresh, onProgress);
      onProgress('compiling the binding');
      await compileBinding(compiler, stage, fresh);
      onProgress('checking the build');
      const verdict = await verifyBuild(fresh, wanted);
      if (cuda) await writeCudaVersions(python, fresh);
      if (damaged) await rename(folder, join(stage, 'damaged')).catch(() => {}); // another process may have moved it
      await rename(fresh, folder).catch(error => { if (!existsSync(folder)) throw error; }); // another process may have been first
      await removeOldBuilds(onProgress);
      return { kind: wanted, folder, built: true, ...verdict };
    } finally {
      await rm(stage, { recursive: true, force: true });
    }
  } catch (error) {
    throw explain(error as Error);
  }
}

/** A folder of this process's own beside the builds; what killed processes left there is removed. */
async function makeStage(): Promise<string> {
  const cache = cacheFolder();
  const prefix = stagePrefix();
  for (const name of await readdir(cache)) {
    if (name.startsWith(prefix) && !isRunning(Number.parseInt(name.slice(prefix.length), 10))) {
      await rm(join(cache, name), { recursive: true, force: true });
    }
  }
  return mkdtemp(join(cache, `${prefix}${process.pid}-`));
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
