import { basename } from 'node:path';
import { UsageError } from './usage_error.js';

/** 'anime=models/anime' -> its name and place; 'models/anime' is called anime. @throws UsageError where two have one name. */
export function nameSources(option: string, sources: readonly string[]): Record<string, string> {
  const entries = sources.map(text => {
    const [, name = basename(text).replace(/\.(safetensors|ckpt|gguf)$/i, ''), source = text] = /^([\w.-]+)=(.+)$/s.exec(text) ?? [];
    return [name, source] as const;
  });
  const names = entries.map(([name]) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new UsageError(`${option}: got two of the name '${twice}', takes another for one of them, as in other=${twice}`);
  }
  return Object.fromEntries(entries);
}
