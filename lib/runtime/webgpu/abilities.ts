import { kernelCompilers } from '../../core/kernel_compilers.js';
import { networkKernels } from '../../core/kernels.js';
import { packings } from '../../core/packed_tensor.js';
import { spareMemory } from '../../core/spare_memory.js';
import { BACKEND, registerKernels, webgpuKernels, webgpuPacking } from './kernels.js';
import type { CheckedWebGpuBackend } from './webgpu_backend.js';

/** Makes tfjs and the layers know what the backend can do. @param backend the one that runs, asked for when it is needed. */
export function provideAbilities(backend: () => CheckedWebGpuBackend): void {
  registerKernels();
  networkKernels.provide(BACKEND, webgpuKernels);
  packings.provide(BACKEND, webgpuPacking);
  spareMemory.provide(BACKEND, () => backend().giveBack());
  kernelCompilers.provide(BACKEND, work => backend().compileAhead(work));
}
