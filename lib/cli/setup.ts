import type { CudaSources } from '../runtime/native/build/existing_cuda.js';
import { setupNative } from '../runtime/native/build/setup.js';
import { UsageError } from './usage_error.js';

export interface SetupFlags extends CudaSources {
  gpu?: boolean;
  cpu?: boolean;
}

/** `tfjs-diffusers setup` */
export async function setup({ gpu, cpu, cudaLibraries, python }: SetupFlags): Promise<void> {
  if (gpu && cpu) throw new UsageError('setup: got both --gpu and --cpu, takes one of the two');
  const given = cudaLibraries ? '--cuda-libraries' : python ? '--python' : null;
  if (given && cpu) throw new UsageError(`setup: got ${given} with --cpu, takes it for a GPU build`);
  const kind = gpu ? 'gpu' : cpu ? 'cpu' : undefined;
  const result = await setupNative({ kind, cudaLibraries, python, onProgress: line => console.error(line) });
  const device = result.kind === 'gpu' && result.gpu ? 'cuda' : 'cpu';
  console.log(`The native backend ${result.built ? 'is built and works' : 'was built already and works'}, on ${device}: ${result.folder}`);
  if (given && !result.built) console.log('Its CUDA libraries are those that it was built with; remove it to build it with others.');
  if (result.noGpu) console.log(`It runs on the CPU for want of a GPU: ${result.noGpu}.`);
}
