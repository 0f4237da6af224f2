import { UsageError } from './usage_error.js';

/** 2GB -> 2e9; powers of ten, as in diffusers. Undefined where nothing is given. @throws UsageError */
export function parseSize(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?)\s*(KB|MB|GB)$/i.exec(text);
  if (!match) throw new UsageError(`${option}: got '${text}', takes a size as in 500MB or 2GB`);
  return Math.floor(Number(match[1]) * { KB: 1e3, MB: 1e6, GB: 1e9 }[match[2].toUpperCase()]!);
}
