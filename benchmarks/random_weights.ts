import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Options } from './options.js';

/** The folder of a network of Stable Diffusion 1.5's size with random weights, that both sides load; made if it is not there yet. */
export async function randomWeights(model: string, { models, python }: Options): Promise<string> {
  const folder = join(models, model);
  if (!existsSync(folder)) {
    const args = ['benchmarks/diffusers_worker.py', 'export', model, `${folder}.partial`];
    const { status, error } = spawnSync(python, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (status !== 0) throw new Error(`${python} ${args.join(' ')}: ${error?.message ?? `exit ${status}`}`);
    await rename(`${folder}.partial`, folder);
  }
  return folder;
}
