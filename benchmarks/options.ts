import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How our side runs: as `compile()` makes it on the device, op by op, and as graphs without XLA or with it, whatever the device. */
export const OURS = ['compiled', 'eager', 'graph', 'xla'] as const;

/** How diffusers runs: eager in torch's default layout, by torch.compile, or eager with channels last. */
export const THEIRS = ['eager', 'compile', 'channels_last'] as const;

/** Numbers of both sides; the first first. */
export const DTYPES = ['float16', 'bfloat16', 'float32'] as const;
export type Dtype = typeof DTYPES[number];

/** Networks with random weights: as large as Stable Diffusion 1.5's, or small ones to try a benchmark with. */
export const SIZES = ['sd15', 'small'] as const;

/** What the command line says. */
export interface Options {
  /** Runs that count, after `warmups` that do not. */
  runs: number;
  warmups: number;
  /** Seconds that a side may take for a case, all in all. */
  timeout: number;
  device: string;
  dtype: readonly Dtype[];
  ours: readonly string[];
  vsDiffusers: readonly string[];
  python: string;
  models: string;
  size: typeof SIZES[number];
  /** The most that a side may take of the GPU's memory, above 0 and at most 1. */
  gpuMemoryFraction?: number;
  cold?: boolean;
  json?: string;
  markdown?: string;
}

const root = fileURLToPath(new URL('../..', import.meta.url));

export const BUNDLED_MODEL = join(root, 'models/shapes');

/** The path of a Python script of this folder, which the build leaves where it is. */
export function pythonScript(name: string): string {
  return join(root, 'benchmarks', name);
}
