import type { Device } from '../../../lib/index.js';
import type { ModelSource, Settings } from '../protocol.js';

/** What a visit leaves for the next one, in this browser. */
export interface Memory {
  settings?: Settings;
  newSeed?: boolean;
  /** Where the model came from. Files that were picked cannot be had again without being picked. */
  source?: Exclude<ModelSource, { kind: 'files' | 'file' }>;
  device?: Device | 'auto';
  /** The picture that was shown, by its id. */
  shown?: number;
}

const KEY = 'tfjs-diffusers-playground';

export function recall(): Memory {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Memory;
  } catch {
    return {};
  }
}

/** Keeps these besides what is kept already. */
export function remember(part: Memory): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...recall(), ...part }));
  } catch { /* a browser that keeps nothing */ }
}
