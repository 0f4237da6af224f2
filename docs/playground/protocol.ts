import type { Device, LoadingProgress, NamedOptions } from '../../lib/index.js';

/** What the page and its worker say to each other. */

/** Where a model comes from: the one that the site brings, a hub id or an address, or a folder's files or a single file that the user picked. */
export type ModelSource =
  | { kind: 'bundled' }
  | { kind: 'name'; name: string }
  | { kind: 'files'; files: Array<[path: string, file: File]> }
  | { kind: 'file'; file: File };

/** A folder that the site brings: where, and its files' sizes. */
export interface BundledFolder {
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
  /** Whether it can change a part of a picture. */
  paints: boolean;
  /** Whether it can be told what to avoid. */
  avoids: boolean;
  /** How closely models of its family follow prompts, where nothing else is said. */
  guidanceScale: number;
  /** Pixels that the UNet was trained on. */
  width: number;
  height: number;
}

/** What a scheduler may be told besides the model's config, in diffusers' names. */
export type SchedulerOptions = Omit<NamedOptions, 'solver_type' | 'solver_order'>;

/** A scheduler's class, and which of the options it takes. */
export interface SchedulerInfo {
  name: string;
  takes: Array<keyof SchedulerOptions>;
}

/** What a picture is made of, besides a picture that it began from. */
export interface Settings {
  /** With weights, as in '(word:1.3)'. */
  prompt: string;
  negativePrompt: string;
  numInferenceSteps: number;
  guidanceScale: number;
  seed: number;
  /** Another seed, and how much of its noise goes into that of the first, from 0 to 1. */
  variation?: { seed: number; share: number };
  /** The scheduler's class. */
  scheduler: string;
  schedulerOptions?: SchedulerOptions;
  width: number;
  height: number;
  /** How much of the picture that it begins from is given up, from 0 to 1. */
  strength?: number;
  /** Every how many steps all of the UNet runs. */
  deepCache?: number;
  /** The share of tokens that are merged. */
  tokenMerging?: number;
  /** How strongly each LoRA acts, by its name. */
  loras?: Record<string, number>;
}

/** What a picture begins from: PNG files of the size that is made. */
export interface Start {
  image: Blob;
  /** White where it is made anew, all of it if there is none. */
  mask?: Blob;
}

/** Under which keyword a PNG file holds its settings as JSON, beside the `parameters` that other tools read. */
export const SETTINGS_KEYWORD = 'tfjs-diffusers playground';

/** What small files add to a model. */
export type AdapterKind = 'lora' | 'word';

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
  | { type: 'generate'; settings: Settings; start?: Start }
  | { type: 'adapt'; kind: AdapterKind; name: string; file: File }
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

/** What comes of `adapt`. */
export type AdaptReply =
  | { type: 'adapted'; kind: AdapterKind; name: string }
  | { type: 'refused'; kind: AdapterKind; name: string; message: string };

export type Reply = LoadReply | WorkReply | AdaptReply;

/** A small picture of the latents: four bytes a pixel. */
export interface Preview {
  width: number;
  height: number;
  rgba: Uint8ClampedArray<ArrayBuffer>;
}
