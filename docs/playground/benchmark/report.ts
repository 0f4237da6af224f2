import type { Device } from '../../../lib/index.js';

/** What is measured, in this order: what asks for most of the device comes last. */
export const PARTS = ['matrixProduct', 'attention', 'convolution', 'picture', 'unet'] as const;
export type Part = typeof PARTS[number];

/** What the weights of a UNet as large as Stable Diffusion's take: 860 million, of four bytes each. */
export const FULL_GIGABYTES = 3.4;

/** How fast a device did a part. */
export interface Figure {
  part: Part;
  device: Device;
  /** As in '2048 x 2048 by 2048 x 2048'. */
  size: string;
  /** Why it is less than others are measured by, where it is. */
  smaller?: string;
  /** Of each run, after one that is not counted. */
  milliseconds: number[];
  median: number;
  /** Floating-point operations of a run, in billions; absent of a picture, whose steps are its work. */
  gflop?: number;
  steps?: number;
}

/** A part that a device could not do, and why. */
export interface Failure {
  part: Part;
  device: Device;
  failed: string;
}

export type Outcome = Figure | Failure;

/** What WebGPU says of a GPU. */
export interface GpuFacts {
  name: string;
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** Whether a processor does its work. */
  isSoftware: boolean;
  features: string[];
  limits: Record<string, number>;
}

/** What networks have to compute with, found out in a worker as that is where they run. */
export interface Abilities {
  devices: Array<{ device: Device; label: string; detail: string; isSoftware: boolean }>;
  wasm: { simd: boolean; threads: number };
  /** Or why there is none. */
  webgpu: GpuFacts | { missing: string };
  tfjs: string;
}

export interface Browser {
  name: string;
  version: string;
  system: string;
  mobile: boolean;
  userAgent: string;
}

/** What a page knows of where it runs. */
export interface PageFacts {
  crossOriginIsolated: boolean;
  /** By https, or from this machine. */
  secure: boolean;
  /** As many as the browser reports. */
  cores: number;
  /** Of the machine, as far as the browser tells: 8 at most. */
  memoryGiB?: number;
}

/** All that was found, to be shared. Changes of its form count the version up. */
export interface Report {
  format: 'tfjs-diffusers benchmark';
  version: 1;
  date: string;
  /** Whether everything was as small as it can be. */
  quick: boolean;
  versions: { 'tfjs-diffusers': string; tfjs: string };
  browser: Browser;
  page: PageFacts;
  wasm: Abilities['wasm'];
  webgpu: Abilities['webgpu'];
  devices: Abilities['devices'];
  results: Outcome[];
}

export function isFigure(outcome: Outcome): outcome is Figure {
  return 'median' in outcome;
}

/** Work a second, by which figures of a part can be compared, whatever their sizes: billions of operations, or steps. */
export function speed({ gflop, steps, median }: Figure): number {
  return (gflop ?? steps!) / (median / 1000);
}
