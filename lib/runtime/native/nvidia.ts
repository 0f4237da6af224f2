import { runTool } from './tools.js';

let gpus: Promise<string[]> | undefined;

/** Names of this machine's NVIDIA GPUs, by the driver's own tool; asked once per process. */
export function nvidiaGpus(): Promise<string[]> {
  gpus ??= runTool('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader'])
    .then(text => text.split('\n').map(line => line.trim()).filter(line => line !== ''), () => []);
  return gpus;
}
