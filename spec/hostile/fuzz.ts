import { mutate, seeded } from './mutate.js';
import type { Target } from './target.js';
import { hostileTargets } from './targets.js';

/** Errors that tell a user what is wrong with his file. */
const named = ['SafetensorsError', 'GgufError', 'PickleError', 'WeightsError', 'ModelFileError', 'HubError', 'PngError', 'ImageError', 'SyntaxError', 'RangeError', 'TypeError'];

/** What engines say of bugs, not of files. */
const accident = /Cannot (read properties|set properties|destructure|convert|mix)|is not (a function|iterable|defined|a constructor)|Invalid (array|typed|string|code)|Maximum call|outside the bounds|out of memory|start offset|byte length of|\n/;

export interface FuzzResult {
  readonly cases: number;
  /** How many of the spoilt files were still good enough to be read. */
  readonly read: number;
}

/**
 * Spoils good files in `cases` ways and reads them: each must be read or refused by a named error of one line.
 * @throws Error with the case's number, for `replay`.
 */
export async function fuzz(target: Target, cases: number, first = 0): Promise<FuzzResult> {
  let read = 0;
  for (let i = first; i < first + cases; i++) {
    const bytes = spoil(target, i);
    try {
      await target.read(bytes);
      read++;
    } catch (error) {
      const { name, message } = error as Error;
      if (!named.includes(name) || accident.test(message) || message.length > 2000) {
        throw new Error(`${target.name}, case ${i} (${bytes.length} bytes): ${name}: ${message}`, { cause: error });
      }
    }
  }
  return { cases, read };
}

/** The bytes of one case. */
export function spoil({ seeds, isJson, name }: Target, index: number): Uint8Array {
  const random = seeded(index * 7919 + [...name].reduce((sum, char) => sum * 31 + char.charCodeAt(0) | 0, 0));
  return mutate(seeds[random() % seeds.length], random, isJson);
}

/** `node dist/spec/hostile/fuzz.js [cases per reader] [first case]`: the long run. */
if (process.argv[1]?.endsWith('fuzz.js')) {
  const [cases = '10000', first = '0'] = process.argv.slice(2);
  for (const target of await hostileTargets()) {
    const { read } = await fuzz(target, Number(cases), Number(first));
    console.log(`${target.name}: ${cases} spoilt files, ${read} read, the others refused by name`);
  }
}
