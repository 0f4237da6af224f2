import { printable, show } from './checks.js';

const maxDepth = 64;
const maxValues = 5_000_000;

/**
 * Parses JSON text from a file that nobody vouches for. JSON.parse alone keeps the last of two equal keys
 * and takes any depth and count of values, so a scan looks first. Infinity is read as Python writes it, in configs of schedulers.
 * @param name what the errors call the text.
 * @throws SyntaxError for what is not JSON, RangeError for a duplicate key or more than a real file can hold.
 */
export function parseJson(name: string, text: string): unknown {
  scan(name, text);
  try {
    const readable = (token: string) => token === 'Infinity' ? '1e999' : token;
    return JSON.parse(text.includes('Infinity') ? text.replace(/"(?:[^"\\]|\\.)*"|(?<!\w)Infinity(?!\w)/gs, readable) : text);
  } catch (error) {
    throw new SyntaxError(`${name}: is not JSON: ${printable((error as Error).message)}`, { cause: error });
  }
}

/** A value as a file of JSON has it. */
export function toJsonText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** True for `{...}`: not null, not a list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One pass over the tokens, valid or not: counts values, and collects the keys of each open object. */
function scan(name: string, text: string): void {
  const open: Array<Set<string> | null> = []; // null: a list
  let values = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x7b: // {
      case 0x5b: // [
        if (open.push(text[i] === '{' ? new Set() : null) > maxDepth) {
          throw new RangeError(`${name}: is nested over ${maxDepth} levels deep`);
        }
        if (++values > maxValues) throw new RangeError(`${name}: holds over ${maxValues} values`);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        open.pop();
        break;
      case 0x2c: // ,
        if (++values > maxValues) throw new RangeError(`${name}: holds over ${maxValues} values`);
        break;
      case 0x22: { // "
        const start = i++;
        while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
        const keys = open.at(-1);
        if (keys && followedByColon(text, i + 1)) addKey(name, keys, text.slice(start, i + 1));
      }
    }
  }
}

function followedByColon(text: string, at: number): boolean {
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++;
  return text[at] === ':';
}

function addKey(name: string, keys: Set<string>, quoted: string): void {
  let key = quoted.slice(1, -1);
  try {
    if (key.includes('\\')) key = JSON.parse(quoted) as string; // "\u0061" is "a"
  } catch {
    return; // not a string: JSON.parse of the whole says where
  }
  if (keys.has(key)) throw new RangeError(`${name}: has the key ${show(key)} twice`);
  keys.add(key);
}
