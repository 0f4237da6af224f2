import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { buildFolder, cacheFolder, type NativeKind } from './build_folder.js';
import { compileBinding } from './compile.js';
import { downloadBinding, downloadTensorflow } from './download.js';
import { nvidiaGpus } from './nvidia.js';
import { checkRequirements } from './requirements.js';
import { explain } from './setup_error.js';
import { verifyBuild } from './verify.js';

export interface SetupOptions {
  /** By default `gpu` where nvidia-smi names a GPU. */
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
}

/**
 * Builds the native backend, or checks that the one built earlier works and builds it anew if not.
 *
 * Needs Linux with glibc, Python with pip, a C++ compiler and the package registries. A build becomes visible by one rename, when it
 * has passed its check: several processes may do this at once, and one that is killed leaves nothing that looks complete.
 * @throws SetupError saying in one line what is missing and what to do.
 */
export async function setupNative({ kind, onProgress = () => {} }: SetupOptions = {}): Promise<SetupResult> {
  const wanted = kind ?? ((await nvidiaGpus()).length > 0 ? 'gpu' : 'cpu');
  const folder = buildFolder(wanted);
  if (existsSync(folder)) {
    const problem = await verifyBuild(folder).catch((error: unknown) => error as Error);
    if (!(problem instanceof Error)) return { kind: wanted, folder, built: false, gpu: problem.gpu };
    onProgress(`the build in ${folder} is damaged (${problem.message}); building it anew`);
  }
  const { python, compiler } = await checkRequirements(wanted);
  try {
    const stage = await makeStage();
    try {
      const fresh = join(stage, 'build');
      await downloadBinding(python, stage, fresh);
      await downloadTensorflow(wanted, python, stage, fresh, onProgress);
      onProgress('compiling the binding');
      await compileBinding(compiler, stage, fresh);
      onProgress('checking the build');
      const { gpu } = await verifyBuild(fresh);
      await rename(folder, join(stage, 'damaged')).catch(() => {}); // as a rule there is none
      await rename(fresh, folder).catch(error => { if (!existsSync(folder)) throw error; }); // another process was first
      return { kind: wanted, folder, built: true, gpu };
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
  const prefix = `.stage@${hostname()}@`;
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
