import * as tf from '@tensorflow/tfjs';
import { provideAbilities } from './abilities.js';
import { describeAdapter, findAdapter, requestDevice } from './adapter.js';
import { BACKEND } from './kernels.js';
import { gpuStatus } from './software_gpu.js';

let isOurs = false;

/**
 * Whether there is a GPU for WebGPU, and what it is, or what is missing. Software is not for `auto`: WebAssembly is faster. Of a backend
 * that the program registered itself nothing is known.
 */
export async function webgpuStatus(): Promise<{ available: boolean; detail: string; onlyByName?: boolean }> {
  if (!isOurs && tf.findBackendFactory(BACKEND) !== null) return { available: true, detail: `the backend '${BACKEND}' of tfjs` };
  const found = await findAdapter();
  if ('missing' in found) return { available: false, detail: found.missing };
  return gpuStatus(found, describeAdapter(found));
}

/** Makes tfjs's backend `webgpu` the one that checks what the GPU did, unless the program runs another one already. */
export async function loadWebGpu(): Promise<void> {
  if (tf.engine().registry[BACKEND]) return;
  const { CheckedWebGpuBackend } = await import('./webgpu_backend.js'); // with tfjs's kernels, and a factory
  isOurs = true;
  provideAbilities(() => tf.backend() as InstanceType<typeof CheckedWebGpuBackend>);
  if (tf.findBackendFactory(BACKEND) !== null) tf.removeBackend(BACKEND);
  tf.registerBackend(BACKEND, async () => {
    const found = await findAdapter();
    if ('missing' in found) throw new Error(found.missing);
    return new CheckedWebGpuBackend(await requestDevice(found.adapter), found.adapter.info);
  }, 3); // as tfjs's own
}
