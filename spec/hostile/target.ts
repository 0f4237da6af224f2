import { parseJson } from '../../lib/core/json.js';

/** A reader of files, with good ones to spoil. */
export interface Target {
  readonly name: string;
  readonly seeds: Uint8Array[];
  readonly isJson: boolean;
  read(bytes: Uint8Array): Promise<void> | void;
}

export const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
export const parse = (name: string, bytes: Uint8Array): unknown => parseJson(name, text(bytes));

/** As Model.fromPretrained checks before it makes a network. */
export function object(bytes: Uint8Array): object {
  const value = parse('config.json', bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('config.json: takes an object');
  return value;
}
