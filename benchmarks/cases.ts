import { BUNDLED_MODEL, type Dtype, type Options } from './options.js';
import { randomPipeline, randomWeights } from './random_weights.js';

/** What is measured: the same on both sides, at the sizes of Stable Diffusion 1.5 where no other model is named. */
export type Case =
  | { kind: 'unet' | 'unet-xl' | 'transformer-sd35'; batch: number; size: number }
  | { kind: 'vae-decode'; batch: number; size: number }
  | { kind: 'text-encoder'; batch: number; tokens: number }
  | { kind: 'attention'; batch: number; tokens: number; features: number; heads: number }
  | { kind: 'group-norm-silu'; batch: number; size: number; channels: number }
  | { kind: 'geglu'; batch: number; tokens: number; features: number }
  | Pictures;

/** From prompts to the bytes of PNG files. */
interface Pictures {
  kind: 'generate';
  steps: number;
  batch: number;
  /** Of the latents; without it the bundled model makes pictures of its own size. */
  size?: number;
  /** Attention and the VAE in slices. */
  sliced?: boolean;
}

/** By the name that the command line takes. Sizes of latents: 64 is a picture of 512x512. */
export const CASES: Record<string, Case> = {
  'unet': { kind: 'unet', batch: 2, size: 64 },
  'unet-batch-1': { kind: 'unet', batch: 1, size: 64 },
  'unet-256': { kind: 'unet', batch: 2, size: 32 },
  'unet-768': { kind: 'unet', batch: 2, size: 96 },
  'unet-batch-4': { kind: 'unet', batch: 4, size: 64 },
  'unet-xl': { kind: 'unet-xl', batch: 2, size: 128 },
  'unet-xl-256': { kind: 'unet-xl', batch: 2, size: 32 },
  'transformer-sd35': { kind: 'transformer-sd35', batch: 2, size: 128 },
  'transformer-sd35-512': { kind: 'transformer-sd35', batch: 2, size: 64 },
  'transformer-sd35-256': { kind: 'transformer-sd35', batch: 2, size: 32 },
  'vae-decode': { kind: 'vae-decode', batch: 1, size: 64 },
  'text-encoder': { kind: 'text-encoder', batch: 2, tokens: 77 },
  'attention-4096': { kind: 'attention', batch: 2, tokens: 4096, features: 320, heads: 8 },
  'attention-1024': { kind: 'attention', batch: 2, tokens: 1024, features: 640, heads: 8 },
  'attention-256': { kind: 'attention', batch: 2, tokens: 256, features: 1280, heads: 8 },
  'attention-64': { kind: 'attention', batch: 2, tokens: 64, features: 1280, heads: 8 },
  'group-norm-silu': { kind: 'group-norm-silu', batch: 2, size: 64, channels: 320 },
  'geglu': { kind: 'geglu', batch: 2, tokens: 4096, features: 320 },
  'generate': { kind: 'generate', steps: 20, batch: 1 },
  'generate-10': { kind: 'generate', steps: 10, batch: 1 },
  'generate-50': { kind: 'generate', steps: 50, batch: 1 },
  'generate-sd15': { kind: 'generate', steps: 20, batch: 1, size: 64 },
  'generate-sd15-50': { kind: 'generate', steps: 50, batch: 1, size: 64 },
  'generate-sd15-batch-4': { kind: 'generate', steps: 20, batch: 4, size: 64 },
  'generate-sd15-batch-8': { kind: 'generate', steps: 20, batch: 8, size: 64 },
  'generate-sd15-batch-8-sliced': { kind: 'generate', steps: 20, batch: 8, size: 64, sliced: true },
};

/** Of which each side needs the machine's memory for itself: in float32 one UNet of SDXL takes 10 GiB, and SD3.5 medium's transformer as much. */
export const ALONE = ['unet-xl', 'unet-xl-256', 'transformer-sd35', 'transformer-sd35-512', 'transformer-sd35-256'];

/** Cases that differ in one thing alone, which is what a chart of them shows: its title, what that thing is, and the case for each amount of it. */
export const GROWTH: Array<{ title: string; amount: string; cases: Record<number, string> }> = [
  { title: 'a UNet step, by the size of the picture', amount: 'pixels a side', cases: { 256: 'unet-256', 512: 'unet', 768: 'unet-768' } },
  { title: 'a UNet step at 512x512, by batch', amount: 'batch', cases: { 1: 'unet-batch-1', 2: 'unet', 4: 'unet-batch-4' } },
  { title: 'a picture of the bundled model, by steps', amount: 'steps', cases: { 10: 'generate-10', 20: 'generate', 50: 'generate-50' } },
];

const NETWORKS: Partial<Record<Case['kind'], string>> = {
  'unet': 'unet', 'unet-xl': 'xl/unet', 'transformer-sd35': 'sd35/transformer', 'vae-decode': 'vae', 'text-encoder': 'text_encoder',
};

/** What a worker is told, as JSON. */
export interface Task {
  job: Case;
  /** The folder of a network, or for pictures that of a whole model. */
  weights: string;
  device: string;
  dtype: Dtype;
  variant: string;
  gpuMemoryFraction?: number;
}

/** The task that a case is, but for the variant. Small networks get latents of a quarter of the size. Makes random weights that are not there yet. */
export async function task(name: string, dtype: Dtype, options: Options): Promise<Omit<Task, 'variant'>> {
  const given = CASES[name];
  const job = options.size === 'small' && 'size' in given ? { ...given, size: given.size! / 4 } : given;
  const network = NETWORKS[job.kind];
  const weights = network ? await randomWeights(network, options)
    : job.kind !== 'generate' ? '' : job.size ? await randomPipeline(options) : BUNDLED_MODEL;
  return { job, weights, device: options.device, dtype, gpuMemoryFraction: options.gpuMemoryFraction };
}

/** What a worker answers to each line of its input, as one line of JSON. */
export interface Prepared {
  /** Seconds to load the weights. */
  load: number;
  /** Of what it runs on. */
  versions?: string;
}

export interface Run {
  /** Seconds on the clock, and seconds of all cores. */
  wall: number;
  cpu: number;
}

export interface Finished {
  /** Highest resident memory of the process, in bytes. */
  peakRss: number;
  /** Highest sum of the tensors on the GPU, in bytes, where the worker can tell. */
  peakAllocated?: number;
  /** Floating-point operations of one run, where the worker counts them. */
  flops?: number;
  tensors?: number;
  tensorBytes?: number;
}
