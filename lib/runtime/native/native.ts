import { availableParallelism } from 'node:os';
import { buildFolder, cacheFolder, isBuilt, TENSORFLOW_VERSION } from './build_folder.js';
import { readCudaVersions } from './cuda/cuda_versions.js';
import { whyNoGpu } from './cuda/gpu_check.js';
import { chooseGpu, nvidiaGpus, type Gpu } from './cuda/nvidia.js';
import { loadBuild, running, setTf32, type NativeDevice } from './load.js';

let limit: number | undefined;

/**
 * Loads the native backend on `device`, if it is not yet; on `cuda` with at most a fraction of each GPU's memory, and with TF32 if allowed.
 * @throws Error saying in one line why that cannot be.
 */
export async function loadNative(
  device: NativeDevice, { memoryFraction, allowTf32 }: { memoryFraction?: number; allowTf32?: boolean } = {},
): Promise<void> {
  if (running() === null) {
    const folder = buildFolder(device === 'cpu' && isBuilt('cpu') ? 'cpu' : 'gpu');
    const { gpu, visible } = chooseGpu(await nvidiaGpus(), process.env.CUDA_VISIBLE_DEVICES);
    try {
      loadBuild(folder, device === 'cpu' ? { visibleGpus: '-1' } : { memoryFraction, gpu, visibleGpus: visible });
      if (device === 'cuda') setTf32(false);
      limit = memoryFraction;
    } catch (error) {
      const [reason] = (error as Error).message.split('\n');
      throw new Error(`the native build does not load (${reason}); run \`npx tfjs-diffusers setup\` to build it anew`, { cause: error });
    }
    if (device === 'cuda' && running()!.device === 'cpu') throw new Error(whyNoGpu(folder, await nvidiaGpus()));
  }
  if (running()!.device !== device) throw new Error(takenBy(running()!.device));
  if (device === 'cuda' && memoryFraction !== undefined && memoryFraction !== limit) {
    throw new Error(`memoryFraction: got ${memoryFraction}, but TensorFlow runs already, with ${limit ?? 'no limit'}; `
      + 'say it before all else');
  }
  if (device === 'cuda' && allowTf32 !== undefined) setTf32(allowTf32);
}

function takenBy(device: NativeDevice): string {
  return `TensorFlow runs on ${device} in this process and cannot change; use another process`;
}

/** Whether each native device can be had, and what it is, or what is missing and how to get it. */
export async function nativeStatuses(): Promise<Record<NativeDevice, { available: boolean; detail: string }>> {
  const now = running();
  const gpus = await nvidiaGpus();
  const present = (on: string) => ({ available: true, detail: `TensorFlow ${now?.version ?? TENSORFLOW_VERSION} on ${on}` });
  const missing = (detail: string) => ({ available: false, detail });
  const cpu = present(`${threads()} threads`);
  const cuda = present(chooseGpu(gpus, process.env.CUDA_VISIBLE_DEVICES).gpu?.name ?? 'a GPU');
  if (now) return now.device === 'cpu' ? { cuda: missing(takenBy('cpu')), cpu } : { cuda, cpu: missing(takenBy('cuda')) };
  return {
    cuda: gpus.length === 0 ? missing('no NVIDIA GPU, nvidia-smi names none')
      : isBuilt('gpu') ? cuda : missing('no GPU build; run `npx tfjs-diffusers setup --gpu`'),
    cpu: isBuilt('cpu') || isBuilt('gpu') ? cpu : missing('no native build; run `npx tfjs-diffusers setup`'),
  };
}

function threads(): number {
  return Number(process.env.TF_NUM_INTRAOP_THREADS) || availableParallelism();
}

export interface Machine {
  readonly versions: Readonly<Record<string, string>>;
  readonly threads: number;
  readonly cacheFolder: string;
  readonly gpus: readonly Gpu[];
  readonly cudaLibraries: Readonly<Record<string, string>>;
}

/** What `info` tells of this machine besides its devices. */
export async function machine(): Promise<Machine> {
  return {
    versions: { node: process.versions.node, tensorflow: TENSORFLOW_VERSION },
    threads: threads(),
    cacheFolder: cacheFolder(),
    gpus: await nvidiaGpus(),
    cudaLibraries: readCudaVersions(buildFolder('gpu')),
  };
}
