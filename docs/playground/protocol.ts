import type { Device, LoadingProgress, NamedOptions } from '../../lib/index.js';
import type { ModelDescription, SchedulerInfo } from '../../lib/pipelines/describe_model.js';

/** What the page and whoever has the model, a worker or a server, say to each other. */

/** Where a model comes from: the one that the site brings, a hub id or an address, a folder's files or a single file that the user picked, or one of a server's models. */
export type ModelSource =
  | { kind: 'bundled' }
  | { kind: 'name'; name: string }
  | { kind: 'files'; files: Array<[path: string, file: File]> }
  | { kind: 'file'; file: File }
  | { kind: 'server'; url: string; /** The server's first, where none is said. */ model?: string };

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

/** What some places take and others do not: noise between two seeds, ways to compute less, small files that add to the model, lines to steer by, and a picture to take the style from. */
export type Extra = 'variation' | 'deepCache' | 'tokenMerging' | 'files' | 'steering' | 'style';

/** What a loaded model can do, and where it is. */
export interface ModelInfo extends ModelDescription {
  name: string;
  /** What it runs on; absent of a model on a server. */
  device?: DeviceInfo;
  takes: readonly Extra[];
  /** LoRAs that are there without being added, by name. */
  loras: readonly string[];
}

/** What a scheduler may be told besides the model's config, in diffusers' names. */
export type SchedulerOptions = Pick<NamedOptions, SchedulerInfo['takes'][number]>;

/** What a picture is made of, besides pictures. */
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
  /** How strongly lines steer it, 1 as they were trained to. */
  controlScale?: number;
  /** How much of a picture's style it takes, 1 as that was trained. */
  styleScale?: number;
  /** Every how many steps all of the UNet runs. */
  deepCache?: number;
  /** The share of tokens that are merged. */
  tokenMerging?: number;
  /** How strongly each LoRA acts, by its name. */
  loras?: Record<string, number>;
}

/** What can be written in a prompt that plain encoding does not know. */
const WEIGHTS = /[()[\]\\]/;

/** Whether the prompts have weights. */
export function hasWeights({ prompt, negativePrompt }: Pick<Settings, 'prompt' | 'negativePrompt'>): boolean {
  return WEIGHTS.test(prompt + negativePrompt);
}

/** What a picture begins from: PNG files of the size that is made. */
export interface Start {
  image: Blob;
  /** White where it is made anew, all of it if there is none. */
  mask?: Blob;
}

/** The pictures that a picture is made of. */
export interface Sources {
  start?: Start;
  /** What steers it: a PNG file of the size that is made, lines white on black. */
  control?: Blob;
  /** What it takes the style from: a PNG file of any size. */
  style?: Blob;
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
  /** Bytes that the backend held, where that is known. */
  memory?: number;
}

export type Request =
  | { type: 'load'; source: ModelSource; device: Device | 'auto'; /** The server's, where it takes one. */ key?: string }
  | { type: 'generate'; settings: Settings } & Sources
  | { type: 'adapt'; kind: AdapterKind; name: string; file: File }
  | { type: 'cancel' };

/** What comes of `load`: a worker loads one model in its life. Of a server, a problem may be about what was said of it. */
export type LoadReply =
  | { type: 'devices'; devices: DeviceInfo[] }
  | { type: 'models'; models: readonly string[] }
  | { type: 'loading'; stage: LoadingProgress['stage']; loaded: number; total: number }
  | { type: 'loaded'; model: ModelInfo }
  | { type: 'failed'; message: string; about?: ServerField };

/** What is said of a server. */
export type ServerField = 'address' | 'key' | 'model';

/** What comes of `generate`: waiting and preparing, steps, and one of the last three at the end. */
export type WorkReply =
  | { type: 'waiting'; /** How many are before it; undefined once it was begun. */ place?: number }
  | { type: 'preparing'; /** Or no longer: the GPU, for pictures of such a size. */ preparing: boolean }
  | { type: 'step'; step: number; steps: number; milliseconds: number; memory?: number; preview?: Preview }
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
