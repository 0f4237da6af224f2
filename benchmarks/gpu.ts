import { spawnSync } from 'node:child_process';

/** What `nvidia-smi` says of each GPU: a line for each, the values comma-separated. Nothing where it is not there. */
export function nvidiaSmi(query: string): string[] {
  const { status, stdout } = spawnSync('nvidia-smi', [`--query-gpu=${query}`, '--format=csv,noheader,nounits'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim().split('\n') : [];
}

/**
 * Bytes of GPU memory in use, by all processes. What a process takes is what it adds: within a container NVIDIA's tools see no processes.
 * Neither TensorFlow nor PyTorch gives memory back before it ends, so it is the most that it ever took.
 */
export function gpuMemory(): number {
  return nvidiaSmi('memory.used').reduce((sum, mebibytes) => sum + Number(mebibytes) * 2 ** 20, 0);
}
