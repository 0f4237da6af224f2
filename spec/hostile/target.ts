import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { parseJson } from '../../lib/core/json.js';
import { byteSize, writeSafetensors } from '../../lib/weights/safetensors.js';

/** A reader of files, with good ones to spoil. */
export interface Target {
  readonly name: string;
  readonly seeds: Uint8Array[];
  readonly isJson: boolean;
  read(bytes: Uint8Array): Promise<void> | void;
}

/** A file as it lies, or what is in it if it ends with `.gz`. */
export const golden = (path: string): Uint8Array => {
  const bytes = readFileSync(`spec/golden/${path}`);
  return new Uint8Array(path.endsWith('.gz') ? gunzipSync(bytes) : bytes);
};
export const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const parse = (name: string, bytes: Uint8Array): unknown => parseJson(name, text(bytes));

/** As Model.fromPretrained checks before it makes a network. */
export function object(bytes: Uint8Array): object {
  const value = parse('config.json', bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('config.json: takes an object');
  return value;
}

/** A small safetensors file of zeros, whose header is most of it. */
export async function safetensors(shapes: Record<string, number[]>, metadata: Record<string, string> = {}): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const tensors = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: 'F32' as const, shape }));
  const bytes = tensors.map(tensor => ({ ...tensor, bytes: () => new Uint8Array(byteSize(tensor)) }));
  for await (const chunk of writeSafetensors(bytes, metadata)) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}
