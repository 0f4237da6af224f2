import type { PredictionType } from '../checkpoints/ldm_config.js';
import type { FloatDtype } from '../core/float16.js';
import type { Device } from '../runtime/devices.js';
import type { TextEncoderOptions } from './text_encoders.js';

/** What the command line of `generate` says. */
export interface GenerateCommandOptions extends TextEncoderOptions {
  model?: string;
  revision?: string;
  variant?: string;
  predictionType?: PredictionType;
  device: Device | 'auto';
  gpuMemoryFraction?: number;
  dtype: FloatDtype;
  scheduler?: string;
  steps?: number;
  guidanceScale?: number;
  negativePrompt?: string;
  pagScale?: number;
  pagAdaptiveScale?: number;
  pagLayers?: string[];
  skipLayers?: number[];
  skipLayerGuidanceScale?: number;
  skipLayerGuidanceStart?: number;
  skipLayerGuidanceStop?: number;
  image?: string;
  mask?: string;
  strength?: number;
  controlnet?: string[];
  controlImage?: string[];
  canny?: boolean;
  controlMode?: number[];
  controlnetScale?: number[];
  controlGuidanceStart?: number[];
  controlGuidanceEnd?: number[];
  ipAdapter?: string;
  ipAdapterWeights?: string;
  ipAdapterImage?: string;
  ipAdapterScale?: number;
  safetyChecker?: boolean;
  t5?: boolean;
  lora?: string[];
  loraScale?: number;
  /** `token=source` each. */
  embedding?: string[];
  /** -1: draw one. */
  seed: bigint;
  numImages: number;
  height?: number;
  width?: number;
  output: string;
  grid?: { rows: number; cols: number };
  compile?: boolean;
  /** A file for the trace, or true for the tables alone. */
  profile?: string | true;
  json?: boolean;
  quiet?: boolean;
}
