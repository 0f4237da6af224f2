import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import type { Values } from './close.js';

export interface Golden {
  /** Arrays by name; activations are channels-last, weights as torch has them. */
  readonly tensors: Record<string, Values>;
  /** What the JSON under the file's metadata key `meta` holds. */
  readonly meta: any; // eslint-disable-line @typescript-eslint/no-explicit-any -- each spec knows its own
}

/** Reads `spec/golden/<name>.safetensors.gz`, made by `spec/golden/generate.py`. */
export function loadGolden(name: string): Golden {
  const file = readSafetensors(gunzipSync(readFileSync(`spec/golden/${name}.safetensors.gz`)));
  return { tensors: file.tensors, meta: JSON.parse(file.metadata.meta ?? '{}') };
}
