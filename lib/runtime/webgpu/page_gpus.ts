import type { FoundGpus } from './found_gpus.js';

/** WebGPU in a page, which the browser has or has not. In Node dawn.ts stands in this file's place. */
export async function findGpus(): Promise<FoundGpus> {
  const { gpu } = navigator;
  return gpu ? { gpu, none: 'this browser finds no GPU' } : { missing: 'this browser has no WebGPU' };
}
