import type { Device, LoadingProgress } from '../../lib/index.js';

/** What the page and its worker say to each other. */

/** Where a model comes from: the one that the site brings, a hub id or an address, or files that the user picked. */
export type ModelSource =
  | { kind: 'bundled' }
  | { kind: 'name'; name: string }
  | { kind: 'files'; files: Array<[path: string, file: File]> };

/** A model that the site brings: where, and its files' sizes. */
export interface BundledModel {
  name: string;
  url: string;
  files: Array<[path: string, size: number]>;
}

export interface DeviceInfo {
  device: Device;
  /** As in 'WebAssembly'. */
  label: string;
  /** As in 'SIMD, 4 threads'. */
  detail: string;
}

/** What a loaded model can do. */
export interface ModelInfo {
  name: string;
  device: DeviceInfo;
  numParameters: number;
  /** Those that it takes, its own first. */
  schedulers: SchedulerInfo[];
  /** Sizes have to be multiples of it. */
  vaeScaleFactor: number;
  /** Pixels that the UNet was trained on. */
  width: number;
  height: number;
}

/** What a scheduler may be told besides the model's config, in diffusers' names. */
export interface SchedulerOptions {
  use_karras_sigmas?: boolean;
  use_exponential_sigmas?: boolean;
  use_beta_sigmas?: boolean;
  algorithm_type?: 'sde-dpmsolver++';
  timestep_spacing?: 'leading' | 'linspace' | 'trailing';
}

/** A scheduler's class, and which of the options it takes. */
export interface SchedulerInfo {
  name: string;
  takes: Array<keyof SchedulerOptions>;
}

/** What a picture is made of. */
export interface Settings {
  prompt: string;
  negativePrompt: string;
  numInferenceSteps: number;
  guidanceScale: number;
  seed: number;
  /** The scheduler's class. */
  scheduler: string;
  schedulerOptions?: SchedulerOptions;
  width: number;
  height: number;
}

/** A picture and how it came about. */
export interface Result {
  /** A PNG file, with the settings inside. */
  png: Uint8Array<ArrayBuffer>;
  settings: Settings;
  model: string;
  device: string;
  milliseconds: number;
  millisecondsPerStep: number;
  /** Bytes that the backend held. */
  memory: number;
}

export type Request =
  | { type: 'load'; source: ModelSource; device: Device | 'auto' }
  | { type: 'generate'; settings: Settings }
  | { type: 'cancel' };

/** What comes of `load`: a worker loads one model in its life. */
export type LoadReply =
  | { type: 'devices'; devices: DeviceInfo[] }
  | { type: 'loading'; stage: LoadingProgress['stage']; loaded: number; total: number }
  | { type: 'loaded'; model: ModelInfo }
  | { type: 'failed'; message: string };

/** What comes of `generate`: steps, and one of the others at the end. */
export type WorkReply =
  | { type: 'step'; step: number; steps: number; milliseconds: number; memory: number; preview: Preview }
  | { type: 'done'; result: Result }
  | { type: 'cancelled' }
  | { type: 'failed'; message: string };

export type Reply = LoadReply | WorkReply;

/** A small picture of the latents: four bytes a pixel. */
export interface Preview {
  width: number;
  height: number;
  rgba: Uint8ClampedArray<ArrayBuffer>;
}
