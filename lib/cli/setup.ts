import { setupNative } from '../runtime/native/setup.js';
import { UsageError } from './usage_error.js';

/** `tfjs-diffusers setup` */
export async function setup({ gpu, cpu }: { gpu?: boolean; cpu?: boolean }): Promise<void> {
  if (gpu && cpu) throw new UsageError('setup: got both --gpu and --cpu, takes one of the two');
  const result = await setupNative({ kind: gpu ? 'gpu' : cpu ? 'cpu' : undefined, onProgress: line => console.error(line) });
  const device = result.kind === 'gpu' && result.gpu ? 'cuda' : 'cpu';
  console.log(`The native backend ${result.built ? 'is built and works' : 'was built already and works'}, on ${device}: ${result.folder}`);
  if (result.noGpu) console.log(`It runs on the CPU for want of a GPU: ${result.noGpu}.`);
}
