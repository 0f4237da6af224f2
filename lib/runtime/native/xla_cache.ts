import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder, TENSORFLOW_VERSION } from './build_folder.js';
import { NVCC_FOLDER } from './cuda/cuda_libraries.js';

/** What machine code of all GPUs and versions may take on disk; what was not used for longest goes first. */
const MAX_BYTES = 4e9;

/** What XLA says of a file that was not written whole, or that another function wrote. */
const DAMAGED = /Read less bytes than requested|Serialized cache key does not match|parse .*proto/i;

/** The flags that XLA itself is run with. */
function xlaFlags(build: string): string[] {
  const nvcc = join(build, NVCC_FOLDER); // where ptxas is
  return existsSync(nvcc) ? [`--xla_gpu_cuda_data_dir=${nvcc}`] : [];
}

/**
 * Machine code that XLA made, kept on disk: by TensorFlow in a folder of ours, one for each machine that it fits (`device`: what it runs on
 * and by which driver), version and set of flags. Files come there by one rename.
 */
export class XlaCache {
  private readonly folder: string;

  /** Sets the environment that TensorFlow reads when it is loaded; what the user set there comes last, and so holds. */
  constructor(build: string, device: string) {
    const root = join(dirname(cacheFolder()), 'xla');
    const set = process.env.XLA_FLAGS?.split(/\s+/) ?? []; // a parent may have set ours
    const flags = [...new Set([...xlaFlags(build), ...set])].filter(flag => flag !== '');
    const key = [TENSORFLOW_VERSION, device, ...flags].join('\n');
    process.env.XLA_FLAGS = flags.join(' ');
    this.folder = join(root, createHash('sha256').update(key).digest('hex').slice(0, 16));
    try {
      mkdirSync(this.folder, { recursive: true });
      trim(root, MAX_BYTES);
    } catch {
      return; // a machine without a place for it makes its code anew in each process
    }
    process.env.CUDA_CACHE_MAXSIZE ??= `${2 ** 32}`; // the driver's own, of TensorFlow's kernels, which it compiles for newer GPUs
    process.env.TF_XLA_FLAGS = [`--tf_xla_persistent_cache_directory=${this.folder}`, process.env.TF_XLA_FLAGS ?? ''].join(' ').trim();
  }

  /** Whether an error of XLA is of a damaged file; then none of the files is left, since it does not say which. */
  mend(error: Error): boolean {
    if (!DAMAGED.test(error.message)) return false;
    for (const file of readdirSync(this.folder)) rmSync(join(this.folder, file), { force: true });
    return true;
  }
}

/** Removes files below `root`, those first that were not read for longest, until the others take no more than `bytes`. */
export function trim(root: string, bytes: number): void {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).map(name => join(root, name))
    .map(path => ({ path, stats: statSync(path, { throwIfNoEntry: false }) })).filter(({ stats }) => stats?.isFile())
    .sort((a, b) => b.stats!.atimeMs - a.stats!.atimeMs);
  let sum = 0;
  for (const { path, stats } of files) {
    sum += stats!.size;
    if (sum > bytes) rmSync(path, { force: true });
  }
}
