import type { FloatDtype } from '../core/float16.js';
import type { ServerLimits } from '../jobs/picture_request.js';
import type { Device } from '../runtime/devices.js';
import { leftOut } from './left_out.js';
import { DEMO_MODEL } from './load_pipeline.js';
import { nameSources } from './name_sources.js';
import { parseSize } from './parse_size.js';
import type { StoreCommandOptions } from './shared_store.js';

/** What machines that draw take. */
export interface DrawCommandOptions extends StoreCommandOptions {
  /** `name=source` or a source, each. */
  model?: string[];
  lora?: string[];
  device?: Device | 'auto';
  dtype?: FloatDtype;
  safetyChecker?: boolean;
  t5?: boolean;
  maxBatch?: number;
  maxMemory?: string;
  maxSteps?: number;
  maxPixels?: number;
}

/** Of those that all requests share, what was said. */
export function givenLimits(options: Partial<Pick<ServerLimits, 'maxQueue' | 'maxSteps' | 'maxPixels'>>): Partial<ServerLimits> {
  const { maxQueue, maxSteps, maxPixels } = options;
  return Object.fromEntries(Object.entries({ maxQueue, maxSteps, maxPixels }).filter(([, value]) => value !== undefined));
}

/** What draws, and by what. @throws UsageError */
export function drawing(options: DrawCommandOptions) {
  const { model, lora, device = 'auto', dtype = 'float32', safetyChecker, maxBatch, maxMemory } = options;
  return {
    models: nameSources('--model', model ?? [`shapes=${DEMO_MODEL}`]), loras: nameSources('--lora', lora ?? []),
    load: { device, dtype, safetyChecker, ...leftOut(options) },
    maxBatch, maxMemory: parseSize('--max-memory', maxMemory),
  };
}
