import { fileURLToPath } from 'node:url';
import { task } from './cases.js';
import { pythonScript, type Dtype, type Options } from './options.js';
import type { Start } from './side.js';

const worker = fileURLToPath(new URL('worker.js', import.meta.url));

/** What starts the sides of a case, ours first. */
export async function sides(name: string, dtype: Dtype, options: Options): Promise<Start[]> {
  const common = await task(name, dtype, options);
  const told = (variant: string) => JSON.stringify({ ...common, variant });
  return [
    ...options.ours.map(variant => ({ name: `tfjs-diffusers ${variant}`, command: [process.execPath, worker, told(variant)] })),
    ...options.vsDiffusers.map(variant => ({ name: `diffusers ${variant}`, command: [options.python, pythonScript('diffusers_worker.py'), told(variant)] })),
  ];
}
