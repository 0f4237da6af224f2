import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder, TENSORFLOW_VERSION } from './build_folder.js';

/** What machine code of all GPUs and versions may take on disk; what was not used for longest goes first. */
const MAX_BYTES = 4e9;

/** What XLA says of a file that was not written whole, or that another function wrote. */
const DAMAGED = /Read less bytes than requested|Serialized cache key does not match|Unable to parse|parse.*proto|DATA_LOSS/i;

/** The flags that XLA itself is run with. */
function xlaFlags(build: string): string[] {
  const nvcc = join(build, 'nvidia', 'cuda_nvcc'); // where ptxas is
  return existsSync(nvcc) ? [`--xla_gpu_cuda_data_dir=${nvcc}`] : [];
}

/**
 * Machine code that XLA made, kept on disk: by TensorFlow in a folder of ours, one for each machine that it fits (`device`: what it runs on and by
 * which driver), version and set of flags. Files come there by one rename.
 */
export class XlaCache {
  private readonly folder: string;

  /** Sets the environment that TensorFlow reads when it is loaded; what the user set there comes last, and so holds. */
  constructor(build: string, device: string) {
    const root = join(dirname(cacheFolder()), 'xla');
    const flags = [...xlaFlags(build), ...process.env.XLA_FLAGS?.split(/\s+/) ?? []].filter(flag => flag !== '');
    const key = [TENSORFLOW_VERSION, device, ...flags].join('\n');
    this.folder = join(root, createHash('sha256').update(key).digest('hex').slice(0, 16));
    try {
      mkdirSync(this.folder, { recursive: true });
      trim(root, MAX_BYTES);
    } catch {
      return; // a machine without a place for it makes its code anew in each process
    }
    process.env.XLA_FLAGS = flags.join(' ');
    process.env.TF_XLA_FLAGS = [`--tf_xla_persistent_cache_directory=${this.folder}`, process.env.TF_XLA_FLAGS ?? ''].join(' ').trim();
  }

  /** Runs `compile` for a function, which reads or writes its code here; if what lies here is damaged, once more without it. */
  async compile(name: string, compile: () => Promise<void>): Promise<void> {
    try {
      await compile();
    } catch (error) {
      const files = this.filesOf(name);
      if (!DAMAGED.test((error as Error).message) || files.length === 0) throw error;
      files.forEach(file => rmSync(file, { force: true }));
      await compile();
    }
    const now = new Date();
    for (const file of this.filesOf(name)) utimesSync(file, now, now); // in use, so not to be removed soon
  }

  private filesOf(name: string): string[] {
    return readdirSync(this.folder).filter(file => file.includes(name)).map(file => join(this.folder, file));
  }
}

/** Removes files below `root`, the oldest first, until the others take no more than `bytes`. */
export function trim(root: string, bytes: number): void {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).map(name => join(root, name))
    .map(path => ({ path, stats: statSync(path, { throwIfNoEntry: false }) })).filter(({ stats }) => stats?.isFile())
    .sort((a, b) => b.stats!.mtimeMs - a.stats!.mtimeMs);
  let sum = 0;
  for (const { path, stats } of files) {
    sum += stats!.size;
    if (sum > bytes) rmSync(path, { force: true });
  }
}
